#!/usr/bin/env python3
"""How old a stream is on the screen of who watches it, and what viewers cost it.

    benches/glass.py age                    # glass to glass by WebRTC, beside MJPEG and HLS, a minute each
    benches/glass.py viewers                # frames a second with ten viewers and without, in turns
    benches/glass.py line                   # what two viewers on bad lines change for a stream and its other viewer
    benches/glass.py                        # all of it

**age**: a camera burns the time into its frames (`clock_camera.py`), they pass RTSP, the detector and the encoder of `streamdet serve`,
and the server's own page reads the time back from what headless Chromium shows. All of it runs on this machine, so there is one clock,
and camera, server and browser share its processors. Goal: a median below 300 ms by WebRTC.

**viewers**: the server, on one processor, works on a 720p recording as fast as it can, and writes it annotated. Ten sessions in a
browser on another processor take that stream, decrypt it and drop it undecoded, and leave, in turns. All that is done for them is done
by the thread `http`: what share of the server's CPU time that takes, less its share without them, is what they cost of the frames a
second, however fast the processor is at the moment. Goal: 5 %, at most.

**line**: two more viewers, by a UDP proxy each: on good lines; then one with 20 % loss and 200 ms each way, and one whose line is
dead after 2 s. Both take turns. Goal: 5 % of the frames a second and 50 ms of the median of the other viewer, at most.

Needs ffmpeg, Chromium and the release build. Nothing else may run beside it. Exit code: 0 when the goals are met.
"""

import argparse
import collections
import contextlib
import functools
import heapq
import http.server
import itertools
import json
import os
import pathlib
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from chromium import ROOT, Browser, found
from clock_camera import ClockCamera
from serving import threads

PROGRAM = ROOT / "target" / "release" / "streamdet"
FOLDER = ROOT / "target" / "bench" / "glass"
SCRIPTS = pathlib.Path(__file__).resolve().parent / "glass"
AGE_MS, COST, LATER_MS = 300, 0.05, 50
VIEWERS = 10
LOSS, DELAY_S, DEAD_AFTER_S = 0.20, 0.2, 2.0
# Encoders, models and caches have begun by then, seconds.
WARM_UP = 5


def main():
    options = arguments()
    absent = [name for name, there in (("ffmpeg", shutil.which("ffmpeg")), ("chromium", found())) if not there]
    absent += [] if options.program.exists() else [str(options.program)]
    if absent:
        sys.exit(f"no {', no '.join(absent)}")
    parts = {"age": age, "viewers": viewers, "line": line}
    good = [parts[name](options) for name in (options.part or parts)]
    sys.exit(0 if all(good) else 1)


def age(options):
    print(f"glass to glass, {options.rate} frames a second of 640x360, {options.seconds} s each", flush=True)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        camera = stack.enter_context(ClockCamera(options.rate))
        streams = {"clock": {"source": camera.address, "output": f"hls:{folder}/"}}
        server = stack.enter_context(Server(options, streams))
        browser = stack.enter_context(Browser())
        medians = {}
        for way, opened in (("WebRTC", watch), ("MJPEG", watch_jpegs), ("HLS", functools.partial(watch_hls, folder))):
            page = opened(browser, server, stack)
            if page is None:
                print(f"  {way:7} is not played by this browser")
                continue
            time.sleep(WARM_UP)
            page.evaluate("glass.taken()")
            before = server.report("clock")
            time.sleep(options.seconds)
            medians[way] = said(way, page.evaluate("glass.taken()"))
            told(before, server.report("clock"))
            page.close()
    good = medians["WebRTC"] < AGE_MS
    print(f"  WebRTC's median {medians['WebRTC']:.0f} ms, goal {AGE_MS} ms: {'good' if good else 'NOT good'}\n", flush=True)
    return good


def watch(browser, server, _stack=None):
    """The page of the server itself, shown by WebRTC."""
    page = browser.open(server.address)
    shown(page, "document.querySelector('.tile video')?.currentTime > 0")
    page.evaluate(script("clock.js"))
    page.evaluate("glass.video(document.querySelector('.tile video'))")
    return page


def watch_jpegs(browser, server, _stack):
    page = browser.open(server.address, "delete window.RTCPeerConnection")
    shown(page, "document.querySelector('.tile .still')?.naturalWidth > 0")
    page.evaluate(script("clock.js"))
    page.evaluate("glass.still(document.querySelector('.tile .still'))")
    return page


def watch_hls(folder, browser, server, stack):
    """The browser's own player, near the live edge as it chooses."""
    playlist = wait_for(lambda: next(pathlib.Path(folder).rglob("*.m3u8"), None), "a playlist")
    handler = functools.partial(Quiet, directory=str(playlist.parent))
    files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=files.serve_forever, daemon=True).start()
    stack.callback(files.shutdown)
    address = f"http://127.0.0.1:{files.server_address[1]}"
    (playlist.parent / "watch.html").write_text("<!doctype html><video muted autoplay></video>")
    page = browser.open(f"{address}/watch.html")
    shown(page, "document.querySelector('video')")
    page.evaluate(script("clock.js"))
    page.evaluate(f"document.querySelector('video').src = '{playlist.name}'; 0")
    if not shown(page, "document.querySelector('video').currentTime > 0", 30, must=False):
        return None
    page.evaluate("glass.video(document.querySelector('video'))")
    return page


def viewers(options):
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        sys.exit("viewers: two processors are needed, one of them for the viewers")
    print(f"{VIEWERS} viewers, the server on processor {processors[0]}, they on {processors[1]}", flush=True)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        # Written: the encoder works for somebody without viewers, too.
        stream = {"source": str(made_clip()), "full-speed": True, "output": f"{folder}/annotated.mkv"}
        server = stack.enter_context(Server(options, {"clip": stream}, {processors[0]}, threads=1))
        browser = stack.enter_context(Browser({processors[1]}))
        # A page of the server that shows no stream itself.
        page = browser.open(server.address + "docs")
        shown(page, "document.body")
        page.evaluate(script("viewers.js"))
        time.sleep(WARM_UP)
        costs = []
        for pair in range(options.pairs):
            rates, shares, seen = {}, {}, 0.0
            for number in (0, VIEWERS) if pair % 2 == 0 else (VIEWERS, 0):
                page.evaluate(f"join('clip', {json.dumps([{}] * number)})")
                time.sleep(1)
                before = sum(page.evaluate("counts()"))
                idle = threads(server.process.pid)
                rates[number], took = server.rate(["clip"], options.turn)
                spent = threads(server.process.pid) - idle
                shares[number] = spent["http"] / spent.total()
                if number:
                    seen = (sum(page.evaluate("counts()")) - before) / number / took
                page.evaluate("leave()")
            costs.append(shares[VIEWERS] - shares[0])
            print(
                f"  pair {pair + 1}: {rates[0]:5.1f} frames/s without, {rates[VIEWERS]:5.1f} with {VIEWERS}, each of whom has {seen:.1f};"
                f" of the CPU time {shares[0] * 100:.1f} and {shares[VIEWERS] * 100:.1f} %", flush=True
            )
    cost = statistics.median(costs)
    good = cost <= COST
    print(f"  cost {cost * 100:.1f} % of the CPU time, median of {options.pairs} pairs "
          f"({min(costs) * 100:.1f} to {max(costs) * 100:.1f} %), goal {COST * 100:.0f} %: "
          f"{'good' if good else 'NOT good'}\n", flush=True)
    return good


def made_clip():
    """Ten minutes of ffmpeg's moving test picture, which is longer than it takes."""
    clip = FOLDER / "viewers-720p.mkv"
    if not clip.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        source = "testsrc2=size=1280x720:rate=30:duration=10"
        once, part = FOLDER / "viewers-once.mkv", clip.with_suffix(".part.mkv")
        quiet = ["ffmpeg", "-v", "error", "-y"]
        coded = ["-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", "30", "-pix_fmt", "yuv420p", once]
        subprocess.run([*quiet, "-f", "lavfi", "-i", source, *coded], check=True)
        subprocess.run([*quiet, "-stream_loop", "59", "-i", once, "-c", "copy", part], check=True)
        part.rename(clip)
        once.unlink()
    return clip


def line(options):
    print(f"two more viewers, on good and on bad lines ({LOSS:.0%} loss and {DELAY_S * 1000:.0f} ms; dead after {DEAD_AFTER_S:.0f} s)", flush=True)
    with contextlib.ExitStack() as stack:
        camera = stack.enter_context(ClockCamera(options.rate))
        server = stack.enter_context(Server(options, {"clock": {"source": camera.address}}))
        browser = stack.enter_context(Browser())
        good_viewer = watch(browser, server)
        others = browser.open(server.address + "docs")
        shown(others, "document.body")
        others.evaluate(script("viewers.js"))
        time.sleep(WARM_UP)
        rates, medians = collections.defaultdict(list), collections.defaultdict(list)
        for pair in range(options.pairs):
            for bad in (False, True) if pair % 2 == 0 else (True, False):
                lines = [Line(server.port, LOSS, DELAY_S), Line(server.port, 0, 0, DEAD_AFTER_S)] if bad else [
                    Line(server.port), Line(server.port)]
                ways = json.dumps([{"port": each.port, "shown": True} for each in lines])
                others.evaluate(f"join('clock', {ways})")
                time.sleep(DEAD_AFTER_S + 1)
                good_viewer.evaluate("glass.taken()")
                counted = others.evaluate("counts()")
                rate, took = server.rate(["clock"], options.turn)
                taken = good_viewer.evaluate("glass.taken()")
                counted = [(now - then) / took for now, then in zip(others.evaluate("counts()"), counted)]
                rates[bad].append(rate)
                medians[bad].append(said(f"{'bad' if bad else 'good'} lines", taken, f"; {rate:.1f} frames/s, the others see "
                                         + " and ".join(f"{one:.1f}" for one in counted)))
                others.evaluate("leave()")
                for each in lines:
                    each.close()
    rate = statistics.median(rates[True]) / statistics.median(rates[False])
    later = statistics.median(medians[True]) - statistics.median(medians[False])
    good = rate >= 1 - COST and later <= LATER_MS
    print(f"  bad lines: {rate:.3f} of the frames a second, the other viewer's median {later:+.0f} ms: {'good' if good else 'NOT good'}\n", flush=True)
    return good


class Server:
    """`streamdet serve` with these streams."""

    def __init__(self, options, streams, cpus=None, threads=None):
        self.folder = tempfile.TemporaryDirectory()
        config = pathlib.Path(self.folder.name) / "bench.toml"
        tables = ("\n".join(["[[stream]]", f"name = {json.dumps(name)}", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())])
                  for name, keys in streams.items())
        config.write_text("\n\n".join(tables) + "\n")
        command = [options.program, "serve", "--listen", "127.0.0.1:0", "--config", config]
        command += ["--threads", str(threads)] if threads else []
        placed = functools.partial(os.sched_setaffinity, 0, cpus) if cpus else None
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=placed, cwd=ROOT)
        for said in self.process.stderr:
            if address := re.search(r"http://127\.0\.0\.1:(\d+)/", said):
                break
        else:
            sys.exit(f"{' '.join(map(str, command))} ended with {self.process.wait()}")
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self.address, self.port = address[0], int(address[1])
        for name in streams:
            wait_for(lambda: self.report(name)["state"] == "up", f"the stream {name}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()

    def report(self, name):
        with urllib.request.urlopen(f"{self.address}v1/streams/{name}", timeout=10) as answer:
            return json.load(answer)

    def rate(self, names, seconds):
        """Frames a second that are processed from now on, and for how long."""
        def processed():
            return sum(self.report(name)["frames"]["processed"] for name in names), time.monotonic()
        before, start = processed()
        time.sleep(seconds)
        after, end = processed()
        return (after - before) / (end - start), end - start


class Line:
    """A UDP proxy before the server: what comes at its port goes on, and back, but for what is lost, and later. It is dead after a while."""

    def __init__(self, server, loss=0.0, delay_s=0.0, dead_after_s=None):
        self.loss, self.delay_s, self.random = loss, delay_s, random.Random(7)
        self.dead = time.monotonic() + dead_after_s if dead_after_s else float("inf")
        self.near, self.far = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self.near.bind(("127.0.0.1", 0))
        self.far.connect(("127.0.0.1", server))
        self.port, self.viewer = self.near.getsockname()[1], None
        self.late, self.order, self.more = [], itertools.count(), threading.Condition()
        for body in (self._there, self._back, self._deliver):
            threading.Thread(target=body, daemon=True).start()

    def _there(self):
        with contextlib.suppress(OSError):
            while True:
                data, viewer = self.near.recvfrom(1 << 16)
                if not data:
                    # It was closed.
                    return
                self.viewer = viewer
                self._put(self.far.send, data)

    def _back(self):
        while True:
            try:
                data = self.far.recv(1 << 16)
            except ConnectionRefusedError:
                continue
            except OSError:
                return
            if not data:
                return
            if self.viewer:
                self._put(lambda data, to=self.viewer: self.near.sendto(data, to), data)

    def _put(self, send, data):
        now = time.monotonic()
        # A connection is made on any line: what is lost is media and what is said of it, whose first byte is 128 to 191 (RFC 7983).
        if now > self.dead or (128 <= data[0] < 192 and self.random.random() < self.loss):
            return
        with self.more:
            heapq.heappush(self.late, (now + self.delay_s, next(self.order), send, data))
            self.more.notify()

    def _deliver(self):
        while True:
            with self.more:
                while not self.late:
                    self.more.wait()
                wait = self.late[0][0] - time.monotonic()
                if wait > 0:
                    self.more.wait(wait)
                    continue
                _, _, send, data = heapq.heappop(self.late)
            if send is None:
                return
            with contextlib.suppress(OSError):
                send(data)

    def close(self):
        with self.more:
            self.late = [(0.0, next(self.order), None, b"")]
            self.more.notify()
        for end in (self.near, self.far):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def copyfile(self, source, outputfile):
        # A player goes away as it likes.
        with contextlib.suppress(ConnectionError):
            super().copyfile(source, outputfile)


def script(name):
    return (SCRIPTS / name).read_text()


def wait_for(ready, what, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := ready():
            return value
        time.sleep(0.1)
    sys.exit(f"{what} did not come within {seconds} s")


def shown(page, expression, seconds=30, must=True):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if page.evaluate(f"!!({expression})"):
            return True
        time.sleep(0.1)
    if must:
        sys.exit(f"the page shows nothing: {expression}")
    return False


def said(what, taken, more=""):
    ages = sorted(taken["ages"])
    if not ages:
        sys.exit(f"{what}: no frame had a clock that could be read ({taken['unread']} unread)")
    at = lambda share: ages[int((len(ages) - 1) * share)]
    print(f"  {what:10} p50 {at(.5):5.0f}  p90 {at(.9):5.0f}  p99 {at(.99):5.0f}  max {at(1):5.0f} ms, "
          f"{len(ages)} frames, {taken['unread']} unread{more}", flush=True)
    return at(.5)


def told(before, after):
    latency = ", ".join(f"{name} p50 {value['p50']:.0f} p99 {value['p99']:.0f}" for name, value in after["latency_ms"].items())
    dropped = sum(after["frames"]["dropped"].values()) - sum(before["frames"]["dropped"].values())
    print(f"             the server's own: {latency} ms; {after['frames']['processed'] - before['frames']['processed']} processed, "
          f"{dropped} dropped", flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*", choices=["age", "viewers", "line", []], help="what is measured [default: all]")
    parser.add_argument("--seconds", type=float, default=60, help="of each way to watch")
    parser.add_argument("--rate", type=int, default=15, help="the camera's frames a second")
    parser.add_argument("--pairs", type=int, default=4, help="turns with and without")
    parser.add_argument("--turn", type=float, default=15, help="seconds of a turn")
    parser.add_argument("--program", type=pathlib.Path, default=PROGRAM)
    return parser.parse_args()


if __name__ == "__main__":
    main()
