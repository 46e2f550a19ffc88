#!/usr/bin/env python3
"""What a stream costs, as curves: over the number of streams, the input size and the batch size. A page with plots, and the figures as JSON.

Every run is the streaming test (`streamdet bench`) of so many copies of one clip at its own frame rate, the newest frame first. Where there are more
frames than the machine can do, the others are dropped, and the rate of those that are processed is what it can do.

    benches/cost.py                                  # target/cost/index.html and cost.json: some minutes
    benches/cost.py --clip flight.mp4 -m yolov8n.onnx --seconds 20
    benches/cost.py --streams 1,2,4 --sizes 640 --batches 1,8

From the page: CPU time a frame, times frames a second and streams, is how many cores are busy; plan with 70 % of those that there are. Decoding is part
of it; drawing, encoding and viewers are not.

Needs the release build, and the clip that `make demo` downloads (or --clip). Exit code: 0 when every run went through.
"""

import argparse
import datetime
import html
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

from serving import CLIP, PROGRAM, ROOT

WIDTH, HEIGHT, LEFT, RIGHT, BELOW = 420, 240, 52, 20, 34
FIGURES = (
    ("fps", "frames/s, all streams"),
    ("cpu_ms", "CPU ms a frame"),
    ("p99_ms", "behind live, p99, ms"),
    ("dropped", "dropped, %"),
    ("rss_mb", "memory, MB"),
)


def run(options, streams, size, batch):
    """One run's figures."""
    frames = max(30, int(options.seconds * options.fps))
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        command = [PROGRAM, "bench", options.clip, "--into", report, "--streams", streams, "--frames-each", frames, "--quiet"]
        command += ["--imgsz", size, "--batch", batch]
        if options.model:
            command += ["-m", options.model]
        if options.provider:
            command += ["--provider", options.provider]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{streams} streams, size {size}, batch {batch}: {done.stderr.strip()}")
        report = json.loads(report.read_text())
    counts = [stream["frames"] for stream in report["streams"]]
    received, processed = (sum(count[key] for count in counts) for key in ("received", "processed"))
    used = report["resources"]
    return {
        "streams": streams,
        "size": size,
        "batch": batch,
        "fps": round(report["fps"]["mean"], 2),
        "cpu_ms": round((used["cpu_user_s"] + used["cpu_system_s"]) / max(processed, 1) * 1e3, 2),
        "p99_ms": round(report["latency_ms"]["behind_live"]["p99"], 1),
        "dropped": round((1 - processed / max(received, 1)) * 100, 2),
        "rss_mb": round(used["max_rss_bytes"] / 1e6),
        "provider": " ".join(str(report["provider"].get(key)) for key in ("actual", "detail") if report["provider"].get(key)),
        "cpu_share": report["resources"]["cpu_share"],
    }


def plot(title, xs, ys):
    """A line of points, from zero up."""
    # Four steps of 1, 2, 2.5 or 5, times a power of ten.
    least = (max(ys) or 1) / 4
    power = 10 ** math.floor(math.log10(least))
    top = 4 * power * next(step for step in (1, 2, 2.5, 5, 10) if step * power >= least)
    at_x = lambda n: LEFT + (WIDTH - LEFT - RIGHT) * (n / max(len(xs) - 1, 1))
    at_y = lambda y: HEIGHT - BELOW - (HEIGHT - BELOW - 26) * y / top
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title)}"><text x="{LEFT}" y="14">{html.escape(title)}</text>']
    for step in range(5):
        value = top * step / 4
        y = at_y(value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,g}</text>')
    points = " ".join(f"{at_x(n):.1f},{at_y(y):.1f}" for n, y in enumerate(ys))
    parts.append(f'<polyline points="{points}"/>')
    for n, (x, y) in enumerate(zip(xs, ys)):
        parts.append(f'<circle cx="{at_x(n):.1f}" cy="{at_y(y):.1f}" r="3"><title>{x}: {y:g}</title></circle>')
        parts.append(f'<text x="{at_x(n):.1f}" y="{HEIGHT - BELOW + 18}" text-anchor="middle">{x}</text>')
    return "".join(parts) + "</svg>"


def page(curves, about):
    style = (
        ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:1320px;margin:2em auto;padding:0 1em}"
        "svg{width:420px;max-width:100%;font-size:11px;fill:currentColor}polyline{fill:none;stroke:#2a78d6;stroke-width:2}circle{fill:#2a78d6}"
        ".grid{stroke:currentColor;opacity:.15}table{border-collapse:collapse}td,th{padding:.15em .8em;text-align:right}"
    )
    parts = [f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'><title>What a stream costs</title><style>{style}</style>"]
    parts.append(f"<h1>What a stream costs</h1><p>{html.escape(about)}</p>")
    for name, key, rows in curves:
        parts.append(f"<h2>{html.escape(name)}</h2>")
        xs = [row[key] for row in rows]
        parts += [plot(title, xs, [row[figure] for row in rows]) for figure, title in FIGURES]
        head = "".join(f"<th scope=col>{html.escape(title)}" for title in [key] + [title for _, title in FIGURES])
        body = "".join("<tr>" + "".join(f"<td>{row[figure]:g}" for figure in [key] + [figure for figure, _ in FIGURES]) for row in rows)
        parts.append(f"<table><tr>{head}{body}</table>")
    return "\n".join(parts)


def numbers(text):
    return [int(number) for number in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=pathlib.Path, default=CLIP)
    parser.add_argument("-m", "--model")
    parser.add_argument("--provider")
    parser.add_argument("--streams", type=numbers, default=[1, 2, 4, 8, 16])
    parser.add_argument("--sizes", type=numbers, default=[320, 480, 640, 960, 1280])
    parser.add_argument("--batches", type=numbers, default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=8, help="of each run")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "target" / "cost")
    options = parser.parse_args()
    probed = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height,avg_frame_rate", "-of", "csv=p=0", options.clip]
    width, height, rate = subprocess.run(probed, check=True, capture_output=True, text=True).stdout.strip().split(",")[:3]
    over, under = rate.split("/")
    options.fps = float(over) / float(under)
    most, size, batch = max(options.streams), 640 if 640 in options.sizes else options.sizes[0], options.batches[0]
    curves = []
    for name, key, settings in (
        (f"Streams, at size {size} and batch size {batch}", "streams", [(n, size, batch) for n in options.streams]),
        (f"Input size, {most} streams, batch size {batch}", "size", [(most, n, batch) for n in options.sizes]),
        (f"Batch size, {most} streams at size {size}", "batch", [(most, size, n) for n in options.batches]),
    ):
        rows = []
        for at in settings:
            rows.append(run(options, *at))
            print("  {streams:>3} streams  size {size:>4}  batch {batch}  {fps:7.1f} frames/s  {cpu_ms:6.1f} CPU ms a frame  p99 {p99_ms:7.1f} ms  {dropped:5.1f} % dropped  {rss_mb:5} MB".format(**rows[-1]), flush=True)
        curves.append((name, key, rows))
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    about = (
        f"{options.clip.name}: {width}x{height} at {options.fps:g} frames/s; model {options.model or 'visdrone-nano (built in)'}, {curves[0][2][0]['provider']}; "
        f"{model}, {len(os.sched_getaffinity(0))} cores; {datetime.date.today()}"
    )
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "index.html").write_text(page(curves, about))
    figures = {"about": about, "curves": [{"over": key, "rows": rows} for _, key, rows in curves]}
    (options.out / "cost.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(f"{about}\n{options.out / 'index.html'}")


if __name__ == "__main__":
    main()
