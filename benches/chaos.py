#!/usr/bin/env python3
"""A recorder of two RTSP streams whose surroundings fail, again and again.

    make chaos                              ten minutes
    python3 benches/chaos.py --seconds 120

Two streams are recorded in segments, written as HLS and served by RTSP, with a JSON line a frame, by a program that a loop starts again
whenever it ends. Meanwhile their server is killed and started again, the disk that HLS is written to fills and empties (where a small
one can be mounted, as root), a client of the RTSP server stops reading, an RTMP server is never there, and the program is killed with
SIGKILL five times. At the end:

- every segment plays without an error, also what a SIGKILL left; of every frame that has a JSON line, all but the last second before a
  SIGKILL or an outage lie in a segment, and no segment has more
- every line of JSON is whole; every HLS playlist plays
- nothing that was planted as a secret is in anything that was printed, written or served
- `streamdet_stream_up` was 0 when a stream had been away for longer than --stall-timeout, and 1 when it was there again

Needs ffmpeg, ffprobe, the release build and target/live555/live555-server. Exit code: 0 when all of it holds.
"""

import argparse
import json
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from rtsp_feed import PROGRAM, SERVER, missing

RATE = 15
STALL_SECONDS = 3
KILLS = 5
SECRET = "planted-s3cret"
STREAMS = ("a", "b")


def quiet(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def make_feed(folder, seconds):
    """Two moving pictures in H.264, long enough that they never end."""
    for number, name in enumerate(STREAMS):
        loop = folder / "loop.mkv"
        source = f"{('testsrc2', 'testsrc')[number]}=size=640x360:rate={RATE}"
        encoder = ("-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", str(RATE), "-pix_fmt", "yuv420p")
        quiet("ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, "-t", "10", *encoder, loop)
        end = str(seconds + 60)
        quiet("ffmpeg", "-v", "error", "-y", "-stream_loop", "-1", "-i", loop, "-t", end, "-c", "copy", folder / f"{name}.mkv")
        loop.unlink()


class Camera:
    """The server of both streams behind a port that stays the same, so that it can be killed and come back."""

    def __init__(self, folder):
        self.folder = folder
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.server, self.backend, self.connections = None, None, []
        self.lock = threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()
        self.start()

    def start(self):
        self.server = subprocess.Popen([SERVER, self.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.backend = int(self.server.stdout.readline().split()[-1])

    def kill(self):
        self.backend = None
        self.server.kill()
        self.server.wait()
        with self.lock:
            for connection in self.connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    # It is closed already.
                    pass
            self.connections.clear()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            backend = self.backend
            if backend is None:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", backend))
            except OSError:
                client.close()
                continue
            with self.lock:
                self.connections += [client, server]
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self.forward, args=(one, other), daemon=True).start()

    @staticmethod
    def forward(one, other):
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            # Either side is gone.
            pass
        for end in (one, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                # It is closed already.
                pass


class Recorder:
    """The program, started again whenever it ends, until it is told to stop."""

    def __init__(self, folder, camera, small):
        self.folder, self.small = folder, small
        sources = [f"rtsp://pilot:{SECRET}@127.0.0.1:{camera.port}/{name}.mkv" for name in STREAMS]
        free = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.rtsp, self.metrics = (one.getsockname()[1] for one in free)
        for one in free:
            one.close()
        self.command = [
            *(PROGRAM, "detect", *sources, "--rtsp-transport", "tcp", "--imgsz", "96", "--wait"),
            *("--stall-timeout", f"{STALL_SECONDS}s", "--metrics", f"127.0.0.1:{self.metrics}"),
            *("-o", "{stem}-%Y%m%dT%H%M%SZ.mkv", "--segment", "10s", "-o", f"hls:{small}/{{stem}}/"),
            *("-o", f"rtsp://127.0.0.1:{self.rtsp}/{{stem}}", "-o", f"rtmp://127.0.0.1:1/live/{SECRET}-{{stem}}"),
            *("--json", "detections.jsonl", "--report", "report.json"),
        ]
        self.log = (folder / "log.txt").open("wb")
        self.stopping, self.starts, self.codes, self.program = False, 0, [], None
        self.thread = threading.Thread(target=self.loop)
        self.thread.start()

    def loop(self):
        while not self.stopping:
            # A run's detections are the next one's to keep.
            for name in ("detections.jsonl", "report.json"):
                if (self.folder / name).exists():
                    (self.folder / name).rename(self.folder / f"run-{self.starts}-{name}")
            self.starts += 1
            self.program = subprocess.Popen(self.command, cwd=self.folder, stdout=self.log, stderr=self.log)
            self.codes.append(self.program.wait())

    def kill(self, number=signal.SIGKILL):
        if self.program and self.program.poll() is None:
            self.program.send_signal(number)

    def stop(self):
        self.stopping = True
        self.kill(signal.SIGINT)
        self.thread.join(timeout=60)


def scrape(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
            return answer.read().decode()
    except OSError:
        return None


def up(text):
    return [float(value) for value in re.findall(r"^streamdet_stream_up\{[^}]*\} ([0-9.]+)", text, re.M)]


def waits_for(value, recorder, seconds):
    """Whether every stream has that `streamdet_stream_up` within so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        text = scrape(recorder.metrics)
        if text and up(text) == [value] * len(STREAMS):
            return True
        time.sleep(0.2)
    return False


def frames_in(path):
    """Pictures of a file, and what decoding it complains of."""
    count = quiet(
        *("ffprobe", "-v", "error", "-select_streams", "v:0", "-count_packets"),
        *("-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", path),
    )
    # In the file's own units of time: in those of the frame rate two frames around an outage may fall on one.
    decode = ["ffmpeg", "-v", "error", "-i", path, "-enc_time_base", "-1", "-f", "null", "-"]
    said = subprocess.run(decode, capture_output=True, text=True)
    # Of an HLS playlist it prints the stream twice.
    return int((count.split() or ["0"])[0].strip(",") or 0), said.stderr.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if problem := missing():
        sys.exit(problem)
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        rows = run(pathlib.Path(name), args, chance)
    for label, value, holds in rows:
        print(f"{label:<14} {value}{'' if holds else '   <-- wrong'}")
    sys.exit(0 if all(holds for *_, holds in rows) else 1)


def run(base, args, chance):
    feeds, folder, small = base / "feeds", base / "recorded", base / "small"
    for one in (feeds, folder, small):
        one.mkdir()
    make_feed(feeds, args.seconds)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", small], capture_output=True).returncode == 0
    camera = Camera(feeds)
    recorder = Recorder(folder, camera, small)
    truths, done, outages, kills, stalls, fills = [], [], 0, 0, 0, 0
    try:
        truths.append(("the first frames", waits_for(1, recorder, 60)))
        began = time.monotonic()
        # Every kind of failure in turn, in an order of chance.
        steps = []
        while time.monotonic() - began < args.seconds - 40 or kills < KILLS:
            if not steps:
                steps = ["camera", "kill", "client"] + (["disk"] if mounted else [])
                chance.shuffle(steps)
            step = steps.pop()
            if step == "camera":
                outages += 1
                camera.kill()
                truths.append((f"outage {outages}", waits_for(0, recorder, STALL_SECONDS + 5)))
                time.sleep(chance.uniform(0, 6))
                camera.start()
                truths.append((f"after outage {outages}", waits_for(1, recorder, 60)))
            elif step == "kill" and kills < KILLS:
                kills += 1
                recorder.kill()
                truths.append((f"after SIGKILL {kills}", waits_for(1, recorder, 60)))
            elif step == "client":
                stalls += 1
                url = f"rtsp://127.0.0.1:{recorder.rtsp}/{STREAMS[0]}"
                client = subprocess.Popen(
                    ["ffmpeg", "-v", "quiet", "-rtsp_transport", "tcp", "-i", url, "-f", "null", "-"], stdin=subprocess.DEVNULL
                )
                time.sleep(3)
                client.send_signal(signal.SIGSTOP)
                time.sleep(chance.uniform(3, 8))
                truths.append((f"stalled client {stalls}", waits_for(1, recorder, 5)))
                client.kill()
                client.wait()
            elif step == "disk":
                fills += 1
                filler = small / "filler"
                subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=64k", "count=100000"], capture_output=True)
                time.sleep(chance.uniform(6, 9))
                truths.append((f"full disk {fills}", waits_for(1, recorder, 5)))
                filler.unlink()
            time.sleep(chance.uniform(5, 10))
        time.sleep(12)
    finally:
        last = scrape(recorder.metrics) or ""
        recorder.stop()
        camera.kill()
        try:
            done = check(folder, small, recorder, last)
        finally:
            if mounted:
                subprocess.run(["umount", small], check=True)
    wrong = [what for what, holds in truths if not holds]
    disk = f"{fills} full disks" if mounted else "no full disk: a small one cannot be mounted without root"
    said = f"{outages} outages, {kills} SIGKILLs, {stalls} stalled clients, {disk}"
    return [("what failed", said, kills == KILLS), ("metrics", f"{len(truths)} states, {len(wrong)} of them untrue {wrong or ''}", not wrong), *done]


def check(folder, small, recorder, metrics):
    printed = pathlib.Path(recorder.log.name).read_text(errors="replace")
    rows = [("runs", f"{recorder.starts}, the last ended with {recorder.codes[-1]}", recorder.codes[-1] in (0, 1, 130))]
    # What a SIGKILL left in the last run's place is there as well.
    lines, torn, gaps = {name: 0 for name in STREAMS}, 0, 0
    for path in sorted(folder.glob("*.jsonl*")):
        text = path.read_text()
        torn += 0 if text.endswith("\n") or not text else 1
        for line in text.splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                torn += 1
                continue
            gaps += value.get("event") == "gap"
            if "frame" in value:
                lines[STREAMS[value["stream"]]] += 1
    rows.append(("JSON", f"{sum(lines.values())} lines of frames, {gaps} of outages, {torn} torn", torn == 0))
    # In flight when the program was killed, or the connection was.
    breaks = len(recorder.codes) + gaps
    for name in STREAMS:
        files = sorted(folder.glob(f"{name}-*.mkv*"))
        played = [(path, *frames_in(path)) for path in files]
        bad = [f"{path.name} ({count} frames; {said.splitlines()[0][:120] if said else ''})" for path, count, said in played if said or count == 0]
        frames = sum(count for _, count, _ in played)
        short = lines[name] - frames
        text = f"{frames} frames in {len(files)} segments, {lines[name]} lines of JSON, {breaks} breaks"
        rows.append((f"stream {name}", f"{text}; do not play: {bad or 'none'}", not bad and abs(short) <= breaks * RATE))
        playlist = small / name / "index.m3u8"
        count, said = frames_in(playlist) if playlist.exists() else (0, "no playlist")
        rows.append((f"HLS {name}", f"{count} frames to be seen {said[:80]}", count > 0 and not said))
    written = [printed, metrics]
    written += [path.read_text(errors="replace") for path in folder.glob("*.json*")]
    written += [path.read_text(errors="replace") for path in small.glob("*/*.m3u8")]
    leaks = sum(text.count(SECRET) for text in written)
    rows.append(("secrets", f"{leaks} times in what was printed, written and served", leaks == 0))
    return rows


if __name__ == "__main__":
    main()
