#!/usr/bin/env python3
"""What being scraped costs: `streamdet bench` with nobody asking, and asked for its metrics a hundred times a second.

The two take turns, pair by pair, each run in a process of its own, the second one's figures in the order A B, B A, A B …;
what counts is the median of the pairs' ratios. Whoever asks runs on the same machine and takes its share of it, so that the
figure is an upper bound. Nothing else may run beside it.

    benches/scrape.py                         # a made 1080p clip
    benches/scrape.py --source clip.mp4 --pairs 9 --rate 100
"""

import argparse
import json
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "target" / "bench"
PROGRAM = ROOT / "target" / "release" / "streamdet"
LIMIT = 0.03


def main():
    options = arguments()
    FOLDER.mkdir(parents=True, exist_ok=True)
    clip = options.source or made_clip()
    ratios = []
    for pair in range(options.pairs):
        fps, rates = {}, []
        for scraped in (False, True) if pair % 2 == 0 else (True, False):
            fps[scraped], rate = run(clip, options, scraped)
            rates.append(rate)
        ratios.append(fps[True] / fps[False])
        print(f"  pair {pair + 1}: {fps[False]:7.1f} fps alone, {fps[True]:7.1f} fps scraped {max(rates):.0f} times a second")
    cost = 1 - statistics.median(ratios)
    print(f"\n  cost {cost * 100:.1f} % of the frame rate, median of {options.pairs} pairs "
          f"({(1 - max(ratios)) * 100:.1f} to {(1 - min(ratios)) * 100:.1f} %); at most {LIMIT * 100:.0f} % is wanted")
    sys.exit(cost > LIMIT)


def run(clip, options, scraped):
    """Frames a second of one run, and how often it was asked in one."""
    report = FOLDER / "scrape.json"
    command = [PROGRAM, "bench", clip, "--report", report, "--overwrite", "--metrics", ":0"]
    if options.frames:
        command += ["--frames", str(options.frames)]
    if options.save:
        command += ["--save", FOLDER / "scrape.mp4"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    asked, since, asking = 0, None, None
    for line in process.stderr:
        found = re.search(r"metrics at http://([\d.]+):(\d+)/", line)
        if found and scraped:
            asking = Asking((found[1], int(found[2])), options.rate)
            asking.start()
    code = process.wait()
    if asking:
        asking.join()
        asked, since = asking.asked, asking.took_s
    if code != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {code}")
    return json.loads(report.read_text())["fps"]["mean"], asked / since if since else 0.0


class Asking(threading.Thread):
    """Asks for the metrics, so many times a second, until nobody answers any more."""

    def __init__(self, address, rate):
        super().__init__(name="asking", daemon=True)
        self.address, self.pause_s, self.asked, self.took_s = address, 1 / rate, 0, 0.0

    def run(self):
        start = time.monotonic()
        while True:
            try:
                with socket.create_connection(self.address, timeout=5) as connection:
                    connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    first = connection.recv(1 << 16)
                    while connection.recv(1 << 16):
                        pass
            except OSError:
                break
            if not first.startswith(b"HTTP/1.1 200"):
                break
            self.asked += 1
            # By the clock: a slow answer does not lower the rate.
            time.sleep(max(0.0, start + self.asked * self.pause_s - time.monotonic()))
        self.took_s = time.monotonic() - start


def made_clip():
    """A 1080p H.264 clip of ffmpeg's moving test picture, made once."""
    clip = FOLDER / "scrape-1080p.mp4"
    if not clip.is_file():
        part = clip.with_suffix(".part.mp4")
        source = "testsrc2=size=1920x1080:rate=30:duration=20"
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, "-c:v", "libx264", "-pix_fmt",
                        "yuv420p", part], check=True)
        part.rename(clip)
    return clip


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", help="a video [default: made with ffmpeg]")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=100, help="scrapes a second")
    parser.add_argument("--frames", type=int, help="frames a run [default: all]")
    parser.add_argument("--save", action="store_true", help="draw, encode and save as well")
    return parser.parse_args()


if __name__ == "__main__":
    main()
