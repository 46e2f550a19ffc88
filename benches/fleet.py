#!/usr/bin/env python3
"""Twelve RTSP streams on three instances of a fleet, one of which is killed, one paused, one stopped.

    benches/fleet.py                           # three rounds
    benches/fleet.py --rounds 10 --lease 10

A round kills an instance with SIGKILL and waits until all of its streams are processed elsewhere; starts another one; pauses one for 20 s and lets it go
on; stops one with SIGTERM, and starts another one. It says how long streams were without frames: p50 and p99 from the signal to the first frame that another
instance processed. At the end no epoch of a stream may be of two runs among all that was published, which is read from the server.

Needs nats-server, ffmpeg, live555's server (make setup-test target/live555/live555-server) and the release build. Exit code: 0 when streams of the killed
instance ran within lease + --reconnect, those of the stopped one within --reconnect, and no epoch is of two runs.
"""

import argparse
import collections
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

from archive import Server, streamdet
from rtsp_feed import PROGRAM, missing, serving
from serving import quantile

STREAMS = 12
PAUSE_S = 20.0
HOW = ["--provider", "cpu", "--threads", "1", "--imgsz", "96", "--capacity", "6"]


class Instance:
    def __init__(self, name, fleet, lease, folder):
        self.name, self.log = name, folder / f"{name}.log"
        command = [PROGRAM, "serve", "--listen", "127.0.0.1:0", *HOW, "--fleet", fleet, "--fleet-lease", f"{lease}s", "--instance", name]
        # Each has spools of its own, as on machines of their own.
        self.process = subprocess.Popen(list(map(str, command)), stderr=open(self.log, "w"), env=dict(os.environ, XDG_STATE_HOME=str(folder / name)))
        while "http://" not in self.log.read_text():
            if self.process.poll() is not None:
                sys.exit(self.log.read_text())
            time.sleep(0.1)
        self.address = "http://" + self.log.read_text().split("http://")[1].split("/")[0]

    def processed(self):
        """Frames by stream, of those that run here."""
        try:
            with urllib.request.urlopen(f"{self.address}/v1/streams", timeout=2) as answer:
                return {stream["name"]: stream["frames"]["processed"] for stream in json.load(answer)["streams"]}
        except OSError:
            return {}

    def signal(self, number):
        self.process.send_signal(number)


def owners(fleet):
    listed = json.loads(streamdet("fleet", "list", fleet, "--json").stdout)
    return {name: stream["instance"] for name, stream in listed["streams"].items() if stream["alive"]}


def until(what, within, words):
    end = time.monotonic() + within
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.1)
    sys.exit(f"not within {within:.0f} s: {words}")


def taken_from(gone, others, since, within):
    """How long each stream of an instance was without frames."""
    left, took = set(gone), {}
    end = time.monotonic() + within
    while left and time.monotonic() < end:
        for other in others:
            for name, frames in other.processed().items():
                if name in left and frames > 0:
                    left.discard(name)
                    took[name] = time.monotonic() - since
        time.sleep(0.05)
    return took, left


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lease", type=float, default=5.0, help="seconds")
    parser.add_argument("--reconnect", type=float, default=5.0, help="seconds that a stream may take beyond the lease")
    options = parser.parse_args()
    if absent := missing():
        sys.exit(absent)
    killed, stopped, good = [], [], True
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        media = folder / "media"
        media.mkdir()
        subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=10", "-t", "3600", "-c:v", "libx264", "-preset", "ultrafast",
                        "-g", "10", "-bf", "0", "-pix_fmt", "yuv420p", "-bsf:v", "h264_mp4toannexb", "-f", "h264", media / "cam.264"], check=True)
        server = Server(folder)
        fleet = f"nats://127.0.0.1:{server.port}"
        with serving(media) as address:
            names = [f"cam{number:02}={address}/cam.264" for number in range(STREAMS)]
            streamdet("fleet", "add", fleet, *names, "--fleet-lease", f"{options.lease}s", "--set", f"publish={fleet}", "--set", "publish-on=frame", "--set", "publish-rate=2")
            numbers = iter(range(1, 1000))
            start = lambda: Instance(f"box-{next(numbers)}", fleet, options.lease, folder)
            instances = [start(), start(), start()]
            whole = lambda: len(found := owners(fleet)) == STREAMS and found
            spread = collections.Counter(until(whole, 60, "all streams are taken").values())
            print(f"  {STREAMS} streams on {len(instances)} instances: {dict(spread)}", flush=True)
            for turn in range(options.rounds):
                until(lambda: sum(1 for i in instances for n, f in i.processed().items() if f > 0) >= STREAMS, 60, "all streams have frames")
                gone = instances.pop(0)
                theirs = [name for name, owner in owners(fleet).items() if owner == gone.name]
                since = time.monotonic()
                gone.signal(signal.SIGKILL)
                took, left = taken_from(theirs, instances, since, options.lease + 60)
                good &= not left
                killed += took.values()
                print(f"  round {turn + 1}: {gone.name} killed, {len(theirs)} streams ran elsewhere after {', '.join(f'{s:.1f}' for s in sorted(took.values()))} s", flush=True)
                instances.append(start())
                paused = instances[0]
                paused.signal(signal.SIGSTOP)
                time.sleep(PAUSE_S)
                paused.signal(signal.SIGCONT)
                until(whole, 60, "all streams are taken")
                # Who was paused takes nothing for a lease, and the room is needed.
                time.sleep(options.lease)
                gone = instances.pop(1)
                theirs = [name for name, owner in owners(fleet).items() if owner == gone.name]
                since = time.monotonic()
                gone.signal(signal.SIGTERM)
                took, left = taken_from(theirs, instances, since, options.lease + 60)
                good &= not left
                stopped += took.values()
                code = gone.process.wait(timeout=60)
                good &= code == 0
                print(f"  round {turn + 1}: {paused.name} paused; {gone.name} stopped (exit code {code}), {len(theirs)} streams ran elsewhere after "
                      f"{', '.join(f'{s:.1f}' for s in sorted(took.values()))} s", flush=True)
                instances.append(start())
            until(whole, 60, "all streams are taken")
            for instance in instances:
                instance.signal(signal.SIGTERM)
            good &= all([instance.process.wait(timeout=60) == 0 for instance in instances])
        server.kill()
        epochs, messages = collections.defaultdict(set), 0
        # As the server has them on disk: every payload is a line of JSON.
        for block in (folder / "nats").rglob("*.blk"):
            for piece in block.read_bytes().split(b'"stream_name":"')[1:]:
                name, _, rest = piece.partition(b'","run":"')
                run, _, rest = rest.partition(b'","epoch":')
                epoch = rest.partition(b",")[0]
                if len(run) == 36 and epoch.isdigit():
                    epochs[name, epoch].add(run)
                    messages += 1
        shared = {of: runs for of, runs in epochs.items() if len(runs) > 1}
    for words, took, most in (("killed", killed, options.lease + options.reconnect), ("stopped", stopped, options.reconnect)):
        worst = max(took, default=float("inf"))
        good &= worst <= most
        print(f"  {words}: {len(took)} streams without frames for p50 {quantile(took, 0.5):.1f}, p99 {quantile(took, 0.99):.1f}, at most {worst:.1f} s (goal {most:.0f})")
    good &= not shared and messages > 0
    print(f"  {messages} messages, {len(epochs)} epochs, {len(shared)} of them of two runs: {'good' if good else 'NOT good'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
