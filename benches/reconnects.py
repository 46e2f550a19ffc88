#!/usr/bin/env python3
"""A stream that ends every moment, opened again and again: what is left of memory, files and threads after a thousand times.

live555's server sends a clip of a few frames by RTSP and says goodbye; streamdet comes back after its first pause, half a
second with jitter. Memory, open files and threads are read from /proc every second. What counts is the growth from the
hundredth reconnect on: before that, buffers and caches fill.

    benches/reconnects.py                   # a thousand, about a quarter of an hour
    benches/reconnects.py --reconnects 200

Needs target/live555/live555-server, which `make setup-test target/live555/live555-server` builds.
"""

import argparse
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import time
import urllib.request

from rtsp_feed import PROGRAM, ROOT, missing, serving

FOLDER = ROOT / "target" / "bench" / "reconnects"
WARM_UP = 100
# Growth of memory that is put down to chance.
MOST_GROWTH = 0.02


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reconnects", type=int, default=1000)
    options = parser.parse_args()
    if options.reconnects < 2 * WARM_UP:
        sys.exit(f"--reconnects {options.reconnects}: give {2 * WARM_UP} or more, the first {WARM_UP} do not count")
    if problem := missing():
        sys.exit(problem)
    FOLDER.mkdir(parents=True, exist_ok=True)
    clip, report = FOLDER / "short.mkv", FOLDER / "report.json"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=30:duration=0.3"]
        + ["-c:v", "libx264", "-bf", "0", "-g", "3", "-pix_fmt", "yuv420p", clip],
        check=True,
    )
    with serving(FOLDER) as address, open(FOLDER / "said", "w") as said:
        command = [PROGRAM, "detect", f"{address}/{clip.name}", "-o", "none", "--imgsz", "96", "--rtsp-transport", "tcp"]
        command += ["--metrics", ":0", "--report", report, "--overwrite"]
        run = subprocess.Popen(command, stderr=said, stdout=subprocess.DEVNULL)
        try:
            samples = watch(run, options.reconnects)
            run.send_signal(signal.SIGINT)
            run.wait(60)
        finally:
            run.kill()
    stream = json.loads(report.read_text())["streams"][0]
    judge(samples, stream)


def watch(run, wanted):
    """Reconnects so far with memory in KiB, open files and threads, a sample a second."""
    address = None
    samples, shown = [], 0
    while True:
        if run.poll() is not None:
            sys.exit(f"it ended: {(FOLDER / 'said').read_text()[-2000:]}")
        time.sleep(1)
        if address is None:
            found = re.search(r"http://\S+/metrics", (FOLDER / "said").read_text())
            address = found and found[0]
            continue
        with urllib.request.urlopen(address) as answer:
            counted = re.search(r"^streamdet_reconnects_total\{.*\} (\d+)", answer.read().decode(), re.MULTILINE)
        count = int(counted[1]) if counted else 0
        status = pathlib.Path(f"/proc/{run.pid}/status").read_text()
        rss, threads = (int(re.search(rf"^{key}:\s+(\d+)", status, re.MULTILINE)[1]) for key in ("VmRSS", "Threads"))
        files = len(os.listdir(f"/proc/{run.pid}/fd"))
        samples.append((count, rss, files, threads))
        if count >= shown:
            print(f"  {count:5} reconnects: {rss / 1024:6.1f} MB, {files} files, {threads} threads", flush=True)
            shown += 100
        if count >= wanted:
            return samples


def judge(samples, stream):
    settled = [sample for sample in samples if sample[0] >= WARM_UP]
    tenth = max(len(settled) // 10, 1)
    first, last = settled[:tenth], settled[-tenth:]
    # Memory in the median; files and threads at their fewest, since a connection that is just there has some.
    measures = (statistics.median, min, min)
    medians = [[measure(sample[i] for sample in part) for i, measure in enumerate(measures, 1)] for part in (first, last)]
    growth = medians[1][0] / medians[0][0] - 1
    frames = stream["frames"]
    accounted = frames["received"] == frames["processed"] + sum(frames["dropped"].values())
    good = growth <= MOST_GROWTH and medians[1][1] <= medians[0][1] + 2 and medians[1][2] <= medians[0][2] + 2 and accounted
    print(
        f"\n  {stream['reconnects']} reconnects, {frames['received']} frames, all accounted for: {accounted}\n"
        f"  memory {medians[0][0] / 1024:.1f} -> {medians[1][0] / 1024:.1f} MB ({growth:+.1%}, at most {MOST_GROWTH:.0%}), "
        f"files {medians[0][1]:.0f} -> {medians[1][1]:.0f}, threads {medians[0][2]:.0f} -> {medians[1][2]:.0f}: "
        f"{'good' if good else 'NOT good'}"
    )
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
