#!/usr/bin/env python3
"""A long run at 30 frames a second, 720p, into a segmented file and to an RTSP client at once.

    make soak                          ten minutes
    python3 benches/soak.py --seconds 60

The feed is encoded beforehand. It comes from a live RTSP server on loopback where that is built (`make test` builds it), else from a
file in its own time. The program's memory is read once a second. At the end:

- its resident memory after the first minute (or a quarter of the run, if that is less) and at the end differ by 2 % at most
- it has no more descriptors and threads at the end than after that time, but for two
- no frame was dropped but in the first five seconds, in which a live stream does not wait for the model to be compiled, and every
  processed one is in a segment
- sound and pictures are as far apart in the last segment as in the first, to 40 ms
- the client was served to the end

Needs ffmpeg, ffprobe and the release build. Exit code: 0 when all of it holds.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from rtsp_feed import PROGRAM, SERVER, serving

RATE = 30
# Ten seconds, sent again and again: making them takes less long than watching them.
LOOP_SECONDS = 10
SETTLING_SECONDS = 5


def quiet(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def make_feed(path, seconds):
    """A moving picture with a tone, in H.264 and AAC."""
    loop = path.with_name("loop.mkv")
    quiet(
        *("ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc2=size=1280x720:rate={RATE}"),
        *("-f", "lavfi", "-i", "sine=sample_rate=48000", "-t", str(LOOP_SECONDS)),
        *("-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", str(RATE), "-pix_fmt", "yuv420p"),
        *("-c:a", "aac", str(loop)),
    )
    quiet(
        *("ffmpeg", "-v", "error", "-y", "-stream_loop", "-1", "-i", str(loop), "-t", str(seconds), "-c", "copy"),
        str(path),
    )


def opened(pid):
    """Descriptors and threads."""
    process = pathlib.Path(f"/proc/{pid}")
    try:
        return len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))
    except OSError:
        return None


def resident_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def first_times(path):
    """When pictures and sound begin, and how many pictures there are."""
    begins = {}
    for track in ("v:0", "a:0"):
        text = quiet(
            *("ffprobe", "-v", "error", "-select_streams", track, "-show_entries", "packet=pts_time"),
            *("-of", "csv=p=0", str(path)),
        )
        times = [float(line.strip(",")) for line in text.split() if line.strip(",") not in ("", "N/A")]
        begins[track] = (min(times), len(times))
    return begins["v:0"][0], begins["a:0"][0], begins["v:0"][1]


def watch(folder, source, args):
    """Runs the program with a client; returns its memory (KiB) and its descriptors and threads, second by second, and the client's exit code."""
    command = [PROGRAM, "detect", *source, "--imgsz", str(args.imgsz), "-o", "out.mkv", "-o", "rtsp://:0/soak"]
    command += ["--segment", f"{args.segment}s", "--report", "report.json", "--json", "found.jsonl"]
    log = folder / "log.txt"
    with log.open("w") as said:
        program = subprocess.Popen(command, cwd=folder, stderr=said)
    url = None
    while url is None and program.poll() is None:
        served = [line.split("serving ")[1] for line in log.read_text().splitlines() if "serving " in line]
        url = served[0].strip() if served else None
        time.sleep(0.05)
    if url is None:
        sys.exit(log.read_text())
    sound_and_pictures = ["-map", "0", "-c", "copy", "-f", "null", "-"]
    client = subprocess.Popen(["ffmpeg", "-v", "error", "-rtsp_transport", "tcp", "-i", url, *sound_and_pictures])
    memory, opens = [], []
    began = time.monotonic()
    while program.poll() is None:
        memory.append(resident_kib(program.pid))
        opens.append(opened(program.pid))
        time.sleep(max(0.0, began + len(memory) - time.monotonic()))
    if program.returncode != 0:
        sys.exit(log.read_text())
    known = [(kib, both) for kib, both in zip(memory, opens) if kib > 0 and both]
    return [kib for kib, _ in known], [both for _, both in known], client.wait(timeout=30)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--segment", type=int, help="length of a segment, s [default: a tenth of the run]")
    parser.add_argument("--from-file", action="store_true", help="the feed from a file, even where there is a server")
    parser.add_argument("--imgsz", type=int, default=96, help="input size of the model: small, so that it keeps up")
    args = parser.parse_args()
    args.segment = args.segment or max(2, args.seconds // 10)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        feed = folder / "feed.mkv"
        make_feed(feed, args.seconds)
        (folder / "loop.mkv").unlink()
        live = SERVER.exists() and not args.from_file
        if live:
            with serving(folder) as address:
                # A little less than there is, so that it ends before the server says goodbye.
                most = str((args.seconds - 2) * RATE)
                source = [f"{address}/{feed.name}", "--rtsp-transport", "tcp", "--frames", most]
                memory, opens, client = watch(folder, source, args)
        else:
            memory, opens, client = watch(folder, [feed.name], args)
        report = json.loads((folder / "report.json").read_text())
        seen = [json.loads(line).get("frame") for line in (folder / "found.jsonl").open()]
        segments = [first_times(folder / path) for path in report["outputs"]]

    frames = report["streams"][0]["frames"]
    dropped = sum(frames["dropped"].values())
    # Frames have numbers, dropped ones included.
    seen = [number for number in seen if number is not None and number >= SETTLING_SECONDS * RATE]
    late = seen[-1] - seen[0] + 1 - len(seen)
    settled = min(60, len(memory) // 4)
    # Medians of some seconds: a page more or less is no drift.
    window = max(3, min(15, len(memory) // 8))
    before = statistics.median(memory[settled : settled + window])
    after = statistics.median(memory[-window:])
    drift = (after - before) / before * 100
    grown = []
    for number, name in enumerate(("descriptors", "threads")):
        counts = [both[number] for both in opens]
        first, last = (statistics.median(part) for part in (counts[settled : settled + window], counts[-window:]))
        # A segment that is just being changed has one more.
        grown.append((name, f"{first:.0f} after {settled} s, {last:.0f} at the end, {max(counts)} at most", last <= first + 2))
    offsets = [(sound - pictures) * 1000 for pictures, sound, _ in segments]
    recorded = sum(count for _, _, count in segments)
    served = report["live_outputs"][0]
    moved = abs(offsets[-1] - offsets[0])
    latency = report["latency_ms"]

    rows = [
        ("feed", "from a live server" if live else "from a file, in its own time", True),
        ("length", f"{args.seconds} s at {RATE} frames/s, 1280x720, segments of {args.segment} s", True),
        ("frames", f"{frames['received']} received, {frames['processed']} processed, {dropped} dropped, {late} of them late", late == 0),
        ("recorded", f"{recorded} frames in {len(segments)} segments", recorded == frames["processed"]),
        ("served", f"{served['frames_sent']} sent, {served['frames_lost']} lost; client ended with {client}", client == 0),
        ("memory", f"{before / 1024:.1f} MiB after {settled} s, {after / 1024:.1f} MiB at the end: {drift:+.2f} %", drift <= 2),
        *grown,
        ("A/V offset", f"{offsets[0]:.1f} ms at first, {offsets[-1]:.1f} ms at last: {moved:.1f} ms apart", moved <= 40),
        ("end to end", f"p50 {latency['end_to_end']['p50']:.1f} ms, p99 {latency['end_to_end']['p99']:.1f} ms", True),
        ("encode", f"p50 {latency['encode']['p50']:.1f} ms, p99 {latency['encode']['p99']:.1f} ms", True),
    ]
    if dropped:
        rows.insert(3, ("dropped", ", ".join(f"{count} {why}" for why, count in frames["dropped"].items() if count), True))
    for label, value, holds in rows:
        print(f"{label:<12} {value}{'' if holds else '   <-- too much'}")
    sys.exit(0 if all(holds for _, _, holds in rows) else 1)


if __name__ == "__main__":
    main()
