#!/usr/bin/env python3
"""Two streams that are published while their brokers and the program itself are killed.

    python3 benches/brokers.py                    outages of 60 s, as is to be held
    python3 benches/brokers.py --seconds 5

mosquitto and nats-server, one after the other, are killed with SIGKILL in mid-stream and started again after so many seconds, twice; then the
program is killed while the broker is away, and another run goes on. With --kafka PYTHON, of which confluent-kafka is a package, the same with a
Kafka broker (Tansu, which `make test` fetches), of which the network is killed instead. At the end, of both streams and both runs:

- every number from 0 on has come, in order; NATS has stored none twice, and what MQTT and Kafka brought twice was the same
- with a spool that is too small, exactly those are missing that were told to be lost and that the report counts

Needs mosquitto, mosquitto_sub, nats-server (scripts/setup.sh test) and the release build. Exit code: 0 when all of it holds.
"""

import argparse
import base64
import collections
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM, TANSU = ROOT / "target/release/streamdet", ROOT / "target/tansu/tansu"
ENVIRONMENT = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Broker:
    """A server that can be killed and started again."""

    def __init__(self, folder, arguments, port):
        self.folder, self.arguments, self.port, self.process = folder, arguments, port, None

    def start(self):
        with open(self.folder / "broker.log", "a") as log:
            self.process = subprocess.Popen(self.arguments, stdout=log, stderr=log, env=ENVIRONMENT)
        deadline = time.monotonic() + 30
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def kill(self):
        self.process.kill()
        self.process.wait()


def mosquitto(folder):
    port = free_port()
    (folder / "mosquitto.conf").write_text(
        f"user root\nlistener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {folder}/\n"
        "autosave_interval 1\nautosave_on_changes true\nmax_inflight_messages 0\nmax_queued_messages 0\n"
    )
    return Broker(folder, ["mosquitto", "-c", folder / "mosquitto.conf"], port)


def nats(folder):
    port = free_port()
    return Broker(folder, ["nats-server", "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", folder / "store"], port)


# What comes to a port goes to another one.
RELAY = """
import asyncio, sys
async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()
async def met(reader, writer):
    try:
        back, there = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
    except OSError:
        return writer.close()
    await asyncio.gather(pump(reader, there), pump(back, writer))
async def main():
    await (await asyncio.start_server(met, "127.0.0.1", int(sys.argv[1]))).serve_forever()
asyncio.run(main())
"""


class Cluster(Broker):
    """The way to a Kafka broker, which is killed in its place: Tansu keeps messages in memory. With its messages on an S3 server it can be killed, and
    takes some that it never stored for doubles then, as confluent-kafka alone shows."""

    def __init__(self, folder):
        port, behind = free_port(), free_port()
        super().__init__(folder, [sys.executable, "-c", RELAY, str(port), str(behind)], port)
        urls = ["--listener-url", f"tcp://127.0.0.1:{behind}", "--advertised-listener-url", f"tcp://127.0.0.1:{port}"]
        self.behind = Broker(folder, [TANSU, "broker", *urls, "--storage-engine", "memory://tansu/"], behind)
        self.behind.start()

    def stored(self, python):
        """All messages of its detections and events, in the order of their partitions, of which a stream has one."""
        read = subprocess.run([python, "-c", READ, f"127.0.0.1:{self.port}"], capture_output=True, text=True, timeout=300)
        assert read.returncode == 0, read.stderr
        return [json.loads(line) for line in read.stdout.splitlines()]


# All messages of two topics, a line each.
READ = """
import sys
from confluent_kafka import Consumer, TopicPartition
consumer = Consumer({"bootstrap.servers": sys.argv[1], "group.id": "reader", "enable.auto.commit": False, "enable.partition.eof": True})
topics = consumer.list_topics(timeout=30).topics
parts = [TopicPartition(name, number, 0) for name in ("site.detections", "site.events") if name in topics for number in topics[name].partitions]
consumer.assign(parts)
ended = 0
while ended < len(parts):
    message = consumer.poll(60)
    if message is None:
        sys.exit("nothing comes")
    elif message.error():
        ended += 1
    else:
        print(message.value().decode())
"""


def listeners(broker, folder):
    """mosquitto's client, twice: with a session that outlasts the broker, and without acknowledgements. Of what the broker has sent just before it
    is killed, the first loses what it has not read when it fails to acknowledge that itself; the second hears nothing while it is away."""
    processes = []
    for name, more in (("session", ["-q", "1", "-c", "-x", "86400"]), ("plain", ["-q", "0"])):
        arguments = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(broker.port), "-V", "mqttv5", "-i", name, *more]
        heard = open(folder / f"heard-{name}.jsonl", "w")
        processes.append(subprocess.Popen([*arguments, "-t", "site/+/detections", "-t", "site/+/events"], stdout=heard))
    saved, deadline = folder / "mosquitto.db", time.monotonic() + 30
    while not saved.exists() or b"session" not in saved.read_bytes():
        if time.monotonic() > deadline:
            sys.exit("the listener's session was not saved")
        time.sleep(0.1)
        broker.process.send_signal(signal.SIGUSR1)
    return processes


def heard(folder, name):
    return [json.loads(line) for line in (folder / f"heard-{name}.jsonl").read_text().splitlines()]


def stored(broker):
    """All messages of the server's stream, asked for by its own protocol: <https://docs.nats.io/reference/reference-protocols/nats_api_reference>."""
    link = socket.create_connection(("127.0.0.1", broker.port), 10)
    lines = link.makefile("rb")
    lines.readline()
    link.sendall(b'CONNECT {"verbose":false}\r\nSUB answer 1\r\n')

    def ask(subject, question):
        body = json.dumps(question).encode()
        link.sendall(b"PUB %s answer %d\r\n%s\r\n" % (subject.encode(), len(body), body))
        while True:
            head = lines.readline().split()
            if head[0] == b"MSG":
                answer = json.loads(lines.read(int(head[-1]) + 2))
                return answer
            if head[0] == b"PING":
                link.sendall(b"PONG\r\n")

    state = ask("$JS.API.STREAM.INFO.site", {})["state"]
    messages = []
    for number in range(max(state["first_seq"], 1), state["last_seq"] + 1):
        message = ask("$JS.API.STREAM.MSG.GET.site", {"seq": number})["message"]
        if not message["subject"].endswith(".state"):
            messages.append(json.loads(base64.b64decode(message["data"])))
    return messages


def run(program, folder, url, *more):
    command = [program, "detect", "test:ball", "test:smpte", "-o", "none", "--publish", url, "--publish-on", "frame"]
    log = open(folder / "streamdet.log", "a")
    return subprocess.Popen([*command, "--spool", folder / "spool", *more], cwd=folder, stderr=log)


def numbers(messages):
    """By stream and run: the numbers in the order in which they came first, how many came again, and what was told to be lost."""
    found, known, doubles, lost = collections.defaultdict(list), {}, 0, collections.defaultdict(list)
    for message in messages:
        of = (message["stream_name"], message["run"])
        if message.get("event") == "lost":
            told = (message["from_seq"], message["to_seq"])
            lost[of] += [told] if told not in lost[of] else []
            continue
        key = (*of, message["seq"])
        if key in known:
            doubles += 1
            assert known[key] == message, f"another message with the number {key}"
            continue
        known[key] = message
        found[of].append(message["seq"])
    return found, doubles, lost


def wrong(seen):
    """What is missing or out of order."""
    missing = sorted(set(range(max(seen) + 1)) - set(seen))
    late = [after for before, after in zip(seen, seen[1:]) if after < before]
    return f"of {max(seen) + 1} numbers {len(missing)} are missing ({missing[:5]}…), {len(late)} come after later ones ({late[:5]}…)"


def outages(program, make, scheme, seconds, python=None):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        broker = make(folder)
        broker.start()
        ears = listeners(broker, folder) if scheme == "mqtt" else []
        url = f"{scheme}://127.0.0.1:{broker.port}/site"
        first = run(program, folder, url, "--imgsz", "96")
        time.sleep(10)
        for _ in range(2):
            broker.kill()
            time.sleep(seconds)
            broker.start()
            time.sleep(max(10, seconds / 2))
        broker.kill()
        time.sleep(5)
        first.send_signal(signal.SIGKILL)
        first.wait()
        second = run(program, folder, url, "--imgsz", "96", "--frames", "300", "--report", "r.json")
        time.sleep(3)
        broker.start()
        assert second.wait(300) == 0, (folder / "streamdet.log").read_text()
        time.sleep(3)
        for ear in ears:
            ear.kill()
        if ears:
            for (name, of), seen in numbers(heard(folder, "plain"))[0].items():
                assert seen == sorted(seen), f"{name}, run {of}: out of order"
            messages = sorted(heard(folder, "session") + heard(folder, "plain"), key=lambda message: message.get("seq", -1))
        else:
            messages = broker.stored(python) if python else stored(broker)
        broker.kill()
        if python:
            broker.behind.kill()
        found, doubles, _ = numbers(messages)
        for (name, of), seen in sorted(found.items()):
            assert seen == list(range(len(seen))), f"{name}, run {of}: {wrong(seen)}"
            print(f"{scheme}: {name}, run {of[:8]}: 0 to {seen[-1]}, complete and in order")
        assert len(found) == 4, f"two streams, two runs: {list(found)}"
        assert scheme != "nats" or doubles == 0, f"{doubles} stored twice"
        # Only what was on its way when the program was killed may come again.
        assert scheme != "kafka" or doubles <= 2 * 64, f"{doubles} stored twice"
        if ears:
            doubles = numbers(heard(folder, "plain"))[1]
        print(f"{scheme}: {doubles} came twice, two outages of {seconds:.0f} s and a SIGKILL")


def too_small(program, seconds):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        broker = nats(folder)
        broker.start()
        # 10 kB a frame: a megabyte holds some seconds.
        detections = [{"class_id": 0, "class": "person", "confidence": 0.5, "box": [n, 10, n + 9, 30], "track_id": n} for n in range(1, 80)]
        frames = int(30 * seconds) + 600
        with open(folder / "found.jsonl", "w") as lines:
            for stream in range(2):
                for frame in range(frames):
                    line = {"schema": 1, "stream": stream, "frame": frame, "pts_ns": frame * 33333333, "width": 1280, "height": 720}
                    lines.write(json.dumps(line | {"detections": detections}) + "\n")
        more = ["--detections", "found.jsonl", "--spool-bytes", "1MB", "--report", "r.json", "--frames", str(frames)]
        process = run(program, folder, f"nats://127.0.0.1:{broker.port}/site", *more)
        time.sleep(5)
        broker.kill()
        time.sleep(seconds)
        broker.start()
        assert process.wait(600) == 0, (folder / "streamdet.log").read_text()
        found, _, lost = numbers(stored(broker))
        broker.kill()
        counted = {stream["uri"]: stream["publish"][0]["lost"] for stream in json.loads((folder / "r.json").read_text())["streams"]}
        for (name, of), seen in found.items():
            told = [number for first, last in lost[(name, of)] for number in range(first, last + 1)]
            assert sorted(seen + told) == list(range(len(seen) + len(told))), f"{name}: a number neither came nor was told"
            assert len(told) == counted[name.replace("test-", "test:")] > 0, f"{name}: {len(told)} told, {counted} counted"
            print(f"a spool too small: {name}: {len(seen)} came, {len(told)} lost, told and counted alike")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="length of an outage [default: 60]")
    parser.add_argument("--kafka", metavar="PYTHON", help="with Kafka as well, read by this Python, of which confluent-kafka is a package")
    parser.add_argument("--streamdet", type=pathlib.Path, default=PROGRAM)
    options = parser.parse_args()
    seconds = options.seconds
    outages(options.streamdet, mosquitto, "mqtt", seconds)
    outages(options.streamdet, nats, "nats", seconds)
    if options.kafka:
        outages(options.streamdet, Cluster, "kafka", seconds, options.kafka)
    too_small(options.streamdet, min(seconds, 30))


if __name__ == "__main__":
    main()
