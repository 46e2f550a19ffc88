#!/usr/bin/env python3
"""Whether `streamdet bench --max-streams` finds what holds: the number is found twice, then held, and two streams more are tried.

A clip of one frame rate is made from the demo's, long enough for the longest run. The two numbers may differ by one; the smaller one is to keep the
promise for five minutes, and with two streams more it is to be broken within a minute. Runs are judged as the search judges them: every stream
drops at most 1 % of its frames, and the percentile of the time from when a frame is due until it is handed on is within the promised one.

    benches/capacity.py                                 # some 15 minutes
    benches/capacity.py --sla p99=100ms --hold 60 -- --imgsz 320 --stride 2

What stands behind `--` goes to `bench`. Needs ffmpeg, the release build, and the clip that `make demo` downloads (or --clip). Whatever else runs on the
machine takes part. Exit code: 0 when all of it holds.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

from serving import CLIP, PROGRAM

MOST_LOSS = 0.01
# Streams more than the machine keeps up with, and how long they are tried, seconds.
MORE, TRIED = 2, 60


def bench(options, clip, report, *flags):
    """A `bench`'s report."""
    command = [options.streamdet, "bench", clip, *flags, *options.more]
    done = subprocess.run(list(map(str, command)), stderr=sys.stderr if "--max-streams" in flags else subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stderr or ''}")
    return json.loads(report.read_text())


def holds(options, clip, report, streams, seconds):
    """Whether so many streams keep the promise for so long; says what came of it."""
    frames = int(seconds * options.rate)
    found = bench(options, clip, report, "--into", report, "--streams", streams, "--frames-each", frames, "--quiet")
    counts = [stream["frames"] for stream in found["streams"]]
    lost = max((count["dropped"].get("stale", 0) + count["dropped"].get("queue_full", 0)) / max(count["received"], 1) for count in counts)
    percentile, most = options.sla.split("=")
    behind = found["latency_ms"]["behind_live"][percentile]
    kept = lost <= MOST_LOSS and behind <= float(most.removesuffix("ms"))
    print(f"{streams:8} {found['resources']['run_s']:8.0f} s {min(count['received'] for count in counts):9} {lost:9.1%} {behind:9.0f} ms  "
          f"{'kept' if kept else 'not kept'}", flush=True)
    return kept


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=pathlib.Path, default=CLIP)
    parser.add_argument("--rate", type=int, default=10, help="its frames a second, as it is played")
    parser.add_argument("--sla", default="p99=200ms", help="as `bench` takes it, in ms")
    parser.add_argument("--hold", type=float, default=300, help="how long the number is held, seconds")
    parser.add_argument("--streamdet", type=pathlib.Path, default=PROGRAM)
    parser.add_argument("more", nargs="*", metavar="-- OPTION", help="options of `bench`")
    options = parser.parse_args()
    if not options.clip.is_file():
        sys.exit(f"{options.clip} is not there; `make demo` downloads it, or give --clip")
    with tempfile.TemporaryDirectory() as folder:
        clip, report = pathlib.Path(folder) / "clip.mp4", pathlib.Path(folder) / "report.json"
        made = ["ffmpeg", "-v", "error", "-stream_loop", "-1", "-i", options.clip, "-t", max(options.hold, TRIED) + 5, "-an",
                "-vf", f"setpts=N/{options.rate}/TB", "-r", options.rate, "-c:v", "libx264", "-bf", "0", "-preset", "veryfast", "-pix_fmt", "yuv420p", clip]
        subprocess.run(list(map(str, made)), check=True)
        found = []
        for _ in range(2):
            capacity = bench(options, clip, report, "--max-streams", "--sla", options.sla, "--report", report, "--overwrite")["capacity"]
            found.append(capacity["streams"])
        streams = min(found)
        print(f"\nfound: {found[0]} and {found[1]} streams of {options.rate} frames/s\n")
        if streams == 0:
            sys.exit("not even one stream: give a smaller --imgsz")
        print(f"{'streams':>8} {'length':>10} {'received':>9} {'dropped':>9} {'behind':>12}  {options.sla}")
        good = [
            (abs(found[0] - found[1]) <= 1, "found twice, one apart at most"),
            (holds(options, clip, report, streams, options.hold), f"{streams} streams keep it for {options.hold:.0f} s"),
            (not holds(options, clip, report, streams + MORE, TRIED), f"{streams + MORE} streams do not"),
        ]
    print()
    for is_so, what in good:
        print(f"{'good' if is_so else 'NOT good':8}  {what}")
    sys.exit(not all(is_so for is_so, _ in good))


if __name__ == "__main__":
    main()
