#!/usr/bin/env python3
"""An archive of many small clips, three workers, and whatever may go wrong: workers are killed, the server, too.

Every two seconds a worker, chosen at random, is killed with SIGKILL and another one started; nats-server is killed with SIGKILL and started
again, spread over the run. Beside it a long clip is done from a queue of its own by a worker that is left alone, while another one waits for it: its
lease has to be renewed all the time, and the clip is given out once. In the end every clip has exactly one whole output, equal to what a single run
says of it; what failed is what was planted, and nothing else is left in the folder.

    benches/archive.py                          # 2000 clips, five outages of the server: minutes
    benches/archive.py --clips 200 --outages 1
    benches/archive.py --slurm                  # the same by a scheduler, instead
    benches/archive.py --overhead               # what a file costs beyond its run, instead

--slurm does the clips as an array job of a Slurm of one node, started for it, whose tasks are requeued every few seconds; outputs must be the same. Slurm
leaves a task that was requeued alone for two minutes; it is told not to.
--overhead does the clips by one worker without disturbances, and times what comes between two of them: the server is told that one is done, confirms it,
and gives the next one. (The difference to the same clips from a list says nothing: it is below what a machine does more or less from run to run.) It also
times `work add` with a million names (--names).

Needs nats-server (--slurm: slurm-wlm, munge and root), ffmpeg, and the release build. Exit code: 0 when all of it held.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = pathlib.Path(os.environ.get("STREAMDET", ROOT / "target" / "release" / "streamdet"))
BROKEN = 7
# How every worker detects: of the same float32 arithmetic as the single run.
HOW = ["--provider", "cpu", "--threads", "1", "--imgsz", "96", "-o", "none", "--json"]


class Server:
    """nats-server in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.port, self.monitoring = free_port(), free_port()
        self.process = None
        self.start()

    def start(self):
        path = os.environ["PATH"] + ":/usr/sbin"
        args = ["nats-server", "-a", "127.0.0.1", "-p", str(self.port), "-m", str(self.monitoring), "-js", "-sd", str(self.folder / "nats")]
        log = open(self.folder / "nats.log", "a")
        self.process = subprocess.Popen(args, env=dict(os.environ, PATH=path), stdout=log, stderr=log)
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def queue(self, name):
        return f"nats://127.0.0.1:{self.port}/{name}"

    def given_out(self, name):
        """How often files of a queue were given to workers, each as often as that was."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitoring}/jsz?consumers=true", timeout=10) as answer:
            accounts = json.load(answer)["account_details"]
        streams = [stream for account in accounts for stream in account["stream_detail"] if stream["name"] == f"streamdet-work-{name}"]
        return streams[0]["consumer_detail"][0]["delivered"]["consumer_seq"]


def streamdet(*args, **more):
    return subprocess.run([PROGRAM, *map(str, args)], check=True, capture_output=True, text=True, **more)


def clip(path, seconds, number=0):
    source = f"testsrc2=size=96x64:rate=30,hue=h={number * 7 % 360}"
    args = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-t", str(seconds), "-c:v", "libx264", "-preset", "ultrafast"]
    subprocess.run([*args, "-pix_fmt", "yuv420p", "-y", path], check=True)


def archive(folder, clips, kinds):
    """Clips of some kinds in folders of a hundred, with the same names in each."""
    made = [folder / f"kind-{kind}.mp4" for kind in range(kinds)]
    for kind, path in enumerate(made):
        clip(path, 0.4, kind)
    where = folder / "archive"
    files = []
    for number in range(clips):
        day = where / f"day{number // 100:03}"
        day.mkdir(parents=True, exist_ok=True)
        file = day / f"DJI_{number % 100:04}.mp4"
        shutil.copy(made[number % kinds], file)
        files.append((file, number % kinds))
    return where, files, made


def lines(found, file):
    return found / f"{file.relative_to('/')}.jsonl"


def disturbed(folder, options):
    where, files, made = archive(folder, options.clips, 20)
    planted = []
    for number in range(BROKEN):
        broken = where / f"day{number:03}" / "broken.mp4"
        broken.parent.mkdir(parents=True, exist_ok=True)
        broken.write_bytes(made[0].read_bytes()[: 100 * number])
        planted.append(broken)
    long = folder / "long.mp4"
    clip(long, options.long)
    server = Server(folder)
    queue, alone, found = server.queue("archive"), server.queue("alone"), folder / "found"
    streamdet("work", "add", alone, long, "--lease", "3s")
    streamdet("work", "add", queue, where, "--lease", "3s")
    logs = []

    def worker(queue=queue):
        log = open(folder / f"worker-{len(logs)}.log", "w")
        logs.append(log.name)
        args = [PROGRAM, "work", queue, "--until-empty", "--attempts", "1000", *HOW, f"{found}/"]
        return subprocess.Popen(list(map(str, args)), stderr=log)

    chance = random.Random(options.seed)
    begun = time.monotonic()
    # One has the long clip, the other one is given it should the lease be lost.
    spared = [worker(alone) for _ in range(2)]
    workers = [worker() for _ in range(3)]
    killed, outages, due = 0, 0, time.monotonic() + 2
    while any(process.poll() is None for process in workers):
        time.sleep(0.1)
        if time.monotonic() < due:
            continue
        due += 2
        alive = [at for at, process in enumerate(workers) if process.poll() is None]
        if alive:
            at = chance.choice(alive)
            workers[at].kill()
            workers[at].wait()
            workers[at] = worker()
            killed += 1
        done = sum(1 for _ in found.rglob("*.jsonl"))
        if outages < options.outages and done >= (outages + 1) * options.clips / (options.outages + 1):
            server.kill()
            server.start()
            outages += 1
        if sys.stderr.isatty():
            print(f"\r{done} of {options.clips} outputs, {killed} workers killed, {outages} outages", end="", file=sys.stderr)
    took = time.monotonic() - begun
    for process in spared:
        process.wait()
    long_took = time.monotonic() - begun
    if sys.stderr.isatty():
        print(file=sys.stderr)
    expected = {}
    for kind, path in list(enumerate(made)) + [("long", long)]:
        single = folder / f"single-{kind}.jsonl"
        streamdet("detect", path, *HOW, single)
        expected[kind] = single.read_bytes()
    wrong = [file for file, kind in files + [(long, "long")] if not lines(found, file).exists() or lines(found, file).read_bytes() != expected[kind]]
    all_found = [path for path in found.rglob("*") if path.is_file()]
    status = json.loads(streamdet("work", "status", queue, "--json", "--failed", 100000).stdout)
    failed = sorted(failure["item"]["source"] for failure in status["failures"])
    given = {name: server.given_out(name) for name in ("archive", "alone")}
    server.kill()
    print(f"{options.clips} clips, {killed} workers and the server {outages} times killed, {took:.0f} s; the long clip beside them, {long_took:.0f} s")
    print(f"files were given out {given['archive']} times, the long one {given['alone']} times")
    print(f"outputs that are missing or another than a single run's: {len(wrong)} {wrong[:3]}")
    print(f"files in the folder: {len(all_found)}, expected {len(files) + 1}")
    print(f"failed: {len(failed)}, planted {len(planted)}: {'the same' if failed == sorted(map(str, planted)) else failed}")
    print(f"queue: {status['figures']}")
    held = not wrong and len(all_found) == len(files) + 1 and failed == sorted(map(str, planted))
    return held and given["alone"] == 1 and killed > 0 and outages == options.outages


SLURM = """ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={control}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=5
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def scheduled(folder, options):
    where, files, made = archive(folder, options.clips, 20)
    broken = where / "day000" / "broken.mp4"
    broken.write_bytes(b"no video")
    names, found = folder / "names", folder / "found"
    names.write_text("".join(f"{file}\n" for file in [broken] + [file for file, _ in files]))
    for name in ("state", "spool"):
        (folder / name).mkdir()
    config = folder / "slurm.conf"
    ports = {"control": free_port(), "node": free_port()}
    config.write_text(SLURM.format(host=socket.gethostname().split(".")[0], folder=folder, cores=len(os.sched_getaffinity(0)), **ports))
    env = dict(os.environ, SLURM_CONF=str(config), PATH=os.environ["PATH"] + ":/usr/sbin")
    call = lambda *command: subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    # With a key, a socket and a log of its own: what the machine has for Slurm is left alone. Everybody has to get at the socket.
    folder.chmod(0o711)
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    places = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    munged = ["munged", "--foreground", *(f"--{option}={folder}/munge.{name}" for option, name in places.items())]
    # In the order in which they need each other.
    daemons = []
    try:
        for command in (munged, ["slurmctld", "-D", "-f", str(config)], ["slurmd", "-D", "-f", str(config)]):
            log = open(folder / f"{command[0]}.said", "w")
            daemons.append(subprocess.Popen(command, env=env, stdout=log, stderr=log))
            while not (folder / "munge.socket").exists() and daemons[0].poll() is None:
                time.sleep(0.05)
        while "idle" not in subprocess.run(["sinfo", "-h"], env=env, capture_output=True, text=True).stdout:
            if ended := [daemon for daemon in daemons if daemon.poll() is not None]:
                sys.exit(f"{ended[0].args[0]} has ended: {(folder / f'{ended[0].args[0]}.said').read_text()[-2000:]}")
            time.sleep(0.5)
        work = " ".join(map(str, [PROGRAM, "work", "--manifest", names, *HOW, f"{found}/"]))
        job = call("sbatch", "--parsable", "--requeue", f"--array=0-{options.tasks - 1}", "--output", f"{folder}/task-%a", "--open-mode=append", "--wrap", work).strip()
        chance, requeued, begun, due = random.Random(options.seed), 0, time.monotonic(), time.monotonic() + 2
        while call("squeue", "-h", "-j", job):
            time.sleep(0.5)
            tasks = [line.split() for line in call("squeue", "-h", "-r", "-o", "%i %T %r", "-j", job).splitlines()]
            running = [task for task, state, _ in tasks if state == "RUNNING"]
            # Slurm lets a task that was requeued wait for two minutes.
            for task in (task for task, state, why in tasks if state == "PENDING" and why == "BeginTime"):
                subprocess.run(["scontrol", "update", f"JobId={task}", "StartTime=now"], env=env, capture_output=True)
            if running and requeued < options.requeues and time.monotonic() > due:
                due = time.monotonic() + 3
                # It may have ended since.
                requeued += subprocess.run(["scontrol", "requeue", chance.choice(running)], env=env, capture_output=True).returncode == 0
        took = time.monotonic() - begun
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait()
    expected = {}
    for kind, path in enumerate(made):
        single = folder / f"single-{kind}.jsonl"
        streamdet("detect", path, *HOW, single)
        expected[kind] = single.read_bytes()
    wrong = [file for file, kind in files if not lines(found, file).exists() or lines(found, file).read_bytes() != expected[kind]]
    all_found = [path for path in found.rglob("*") if path.is_file()]
    said = "".join((folder / f"task-{task}").read_text() for task in range(options.tasks))
    begun_again = said.count("DUE TO JOB REQUEUE")
    print(f"{options.clips} clips in {options.tasks} tasks of an array job, {requeued} requeues, {begun_again} of them in mid-run, {took:.0f} s")
    print(f"outputs that are missing or another than a single run's: {len(wrong)} {wrong[:3]}")
    print(f"files in the folder: {len(all_found)}, expected {len(files)}; the broken one is named: {'broken.mp4' in said}")
    return not wrong and len(all_found) == len(files) and "broken.mp4" in said and begun_again > 0


class Relay:
    """Between a worker and its server: how long it takes from a file that is said to be done to the next one."""

    def __init__(self, port):
        self.between, self.done = [], None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.server = port
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            worker, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.server))
            for way in ((worker, server, self.asks), (server, worker, self.answers)):
                way[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self.pump, args=way, daemon=True).start()

    def pump(self, source, sink, seen):
        while data := source.recv(65536):
            seen(data)
            sink.sendall(data)
        sink.close()

    def asks(self, data):
        # A protocol of lines: an acknowledgement goes to a subject that came with the file.
        if b"PUB $JS.ACK." in data:
            self.done = time.monotonic()

    def answers(self, data):
        if b"MSG streamdet-work." in data and self.done:
            self.between.append((time.monotonic() - self.done) * 1e3)
            self.done = None


def overhead(folder, options):
    where, files, _ = archive(folder, options.clips, 20)
    server = Server(folder)
    relay = Relay(server.port)
    streamdet("work", "add", server.queue("archive"), where)
    streamdet("work", f"nats://127.0.0.1:{relay.port}/archive", "--until-empty", *HOW, f"{folder}/found/")
    between = sorted(relay.between)
    p50, p99 = between[len(between) // 2], between[len(between) * 99 // 100]
    print(f"{len(files)} files: from one that is done to the next, confirmed and taken, {p50:.2f} ms (p50), {p99:.2f} ms (p99), {len(between)} times")
    many = "".join(f"/archive/{number // 1000:04}/DJI_{number % 1000:04}.MP4\n" for number in range(options.names))
    begun = time.monotonic()
    streamdet("work", "add", server.queue("many"), "-", input=many)
    took = time.monotonic() - begun
    print(f"work add: {options.names} names in {took:.1f} s, {options.names / took:.0f} a second")
    server.kill()
    return len(between) == len(files) - 1 and p50 <= 5 and took <= 60 * options.names / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--outages", type=int, default=5, help="how often the server is killed")
    parser.add_argument("--long", type=float, default=300, help="length of the long clip, seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--overhead", action="store_true", help="measure what the queue costs instead")
    parser.add_argument("--slurm", action="store_true", help="by a scheduler instead")
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--requeues", type=int, default=5)
    parser.add_argument("--names", type=int, default=1_000_000)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="streamdet-archive-") as folder:
        held = (overhead if options.overhead else scheduled if options.slurm else disturbed)(pathlib.Path(folder), options)
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
