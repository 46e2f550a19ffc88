#!/usr/bin/env python3
"""`streamdet serve` under load, beside the bare detector and a Python endpoint of the kind that it replaces, in one run.

Clients post one JPEG again and again to /v1/detect, each by a connection that stays open (wrk). They take turns, round by round: `serve`, and
FastAPI with `ultralytics` and the same ONNX file, and before and after each the detector alone on a clip of the same frame. What is said of
each beside the detector is of those two, since shared machines become slower and faster. Figures are medians of the rounds.

The bare detector is what `streamdet bench` says of preprocessing, inference and postprocessing, at the batch size where an image takes least:
decoding is not part of it. Of a request it is; how much CPU time that takes stands in the table of threads.

    benches/load.py                                        # streamdet alone
    benches/load.py --python venv/bin/python --rounds 5    # pip install fastapi uvicorn ultralytics onnxruntime

Needs wrk, ffmpeg, the release build, and the clip that `make demo` downloads (or --image). Exit code: 0 when throughput at the most
clients is within 10 % of the bare detector, p50 at one client within 3 ms of the detector's own time, and requests beyond --queue get 503 while others are
answered as fast as before. Whoever asks runs on the same machine and takes its share of it.
"""

import argparse
import collections
import json
import os
import pathlib
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

from serving import CLIP, PROGRAM, ROOT, Served, cpu_s, frame, threads

MODEL = ROOT / "models" / "visdrone-nano.onnx"
BATCHES = (1, 2, 4, 8)
# Of the bare detector; of its own time at one image; of the throughput without refusals.
LEAST, MOST_MS, STEADY = 0.90, 3.0, 0.90
SMALL_QUEUE = 8
# Percent of the processors that others may take before figures are called disturbed.
CALM = 5
CORES = len(os.sched_getaffinity(0))

# Says what came of it as one line of JSON; times are microseconds.
SCRIPT = """
local file = io.open("{image}", "rb")
wrk.method, wrk.body = "POST", file:read("*a")
file:close()
wrk.headers["Content-Type"] = "image/jpeg"
function done(summary, latency, requests)
  print(string.format('{{"requests": %d, "refused": %d, "failed": %d, "us": %d, "p50": %d, "p99": %d}}', summary.requests,
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    summary.duration, latency:percentile(50), latency:percentile(99)))
end
"""

ENDPOINT = '''
import sys
import threading

import cv2
import numpy
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from ultralytics import YOLO

model, lock = YOLO(sys.argv[1], task="detect"), threading.Lock()
app = FastAPI()


def infer(body):
    image = cv2.imdecode(numpy.frombuffer(body, numpy.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise HTTPException(422, "no image")
    # A predictor is not for several threads at once.
    with lock:
        result = model.predict(image, conf=0.25, iou=0.5, imgsz=640, device="cpu", verbose=False)[0]
    rows = zip(result.boxes.xyxy.tolist(), result.boxes.conf.tolist(), result.boxes.cls.tolist())
    return [{"box": box, "confidence": conf, "class": result.names[int(cls)]} for box, conf, cls in rows]


@app.post("/v1/detect")
async def detect(request: Request):
    body = await request.body()
    return {"detections": await run_in_threadpool(infer, body)}


@app.get("/healthz")
async def healthz():
    return "ok"


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
'''


class Python:
    """The endpoint in Python, in a process of its own."""

    def __init__(self, python, folder):
        script = folder / "endpoint.py"
        script.write_text(ENDPOINT)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        quiet = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_CONFIG_DIR": str(folder)}
        self.process = subprocess.Popen(
            [python, script, MODEL, str(self.port)], env={**os.environ, **quiet}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        end = time.monotonic() + 120
        while time.monotonic() < end and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5).close()
                return
            except OSError:
                time.sleep(0.2)
        self.process.kill()
        sys.exit(f"the endpoint in Python does not start\n{self.process.communicate()[1]}")

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def busy_s():
    """CPU seconds of all cores so far that were not idle."""
    fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def of_children_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def load(served, clients, seconds, script):
    """What so many clients got: requests a second, refusals a second, p50 and p99 in ms, CPU ms a request by thread, and the share of
    the processors that others took."""
    before, busy, asked, own = threads(served.process.pid), busy_s(), of_children_s(), cpu_s(served.process.pid)
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", "-s", script, f"http://127.0.0.1:{served.port}/v1/detect"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    after, seconds, asked = threads(served.process.pid), result["us"] / 1e6, of_children_s() - asked
    others = busy_s() - busy - asked - cpu_s(served.process.pid) + own
    good = max(1, result["requests"] - result["refused"])
    # Of threads that went away meanwhile nothing is known.
    spent = {name: max(0.0, 1000 * (s - before[name]) / good) for name, s in after.items()}
    return {
        "rate": good / seconds,
        "refused": result["refused"] / seconds,
        "failed": result["failed"],
        "p50": result["p50"] / 1000,
        "p99": result["p99"] / 1000,
        "cpu": spent,
        "wrk": 1000 * asked / max(1, result["requests"]),
        "others": 100 * max(0.0, others) / seconds / CORES,
    }


def bare(options, clip, batch, folder):
    """Images a second of the detector alone, and how long one batch takes it, ms."""
    report = folder / "bench.json"
    command = [options.streamdet, "bench", clip, "--batch", str(batch), "--report", report, "--overwrite", "-q"]
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    latency = json.loads(report.read_text())["latency_ms"]
    stages = ("preprocess", "inference", "postprocess")
    mean, p50 = (sum(latency[stage][key] for stage in stages) for key in ("mean", "p50"))
    return 1000 * batch / mean, p50


def make_clip(image, folder, frames):
    """The image as a clip, so that the detector alone sees what requests hold."""
    clip = folder / "clip.mkv"
    command = ["ffmpeg", "-v", "error", "-y", "-loop", "1", "-framerate", "30", "-i", image, "-frames:v", str(frames)]
    subprocess.run([*command, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", clip], check=True)
    return clip


def one_answer(served, image):
    request = urllib.request.Request(f"http://127.0.0.1:{served.port}/v1/detect", image, {"Content-Type": "image/jpeg"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return len(json.load(answer)["detections"])


def measured(options, folder):
    """By server and clients what they got in each round, and what the detector alone did meanwhile: images a second, ms an image."""
    image = folder / "image.jpg"
    image.write_bytes(options.image.read_bytes() if options.image else frame(folder))
    script = folder / "post.lua"
    script.write_text(SCRIPT.format(image=image))
    clip = make_clip(image, folder, options.frames)
    rates = {batch: bare(options, clip, batch, folder) for batch in BATCHES}
    best = max(rates, key=lambda batch: rates[batch][0])
    said = ", ".join(f"{batch}: {rate:.1f}" for batch, (rate, _) in rates.items())
    print(f"  the detector alone, images/s by batch size: {said}; best {best}", file=sys.stderr)
    batch = options.batch or best
    runs, alone = collections.defaultdict(list), []

    def measure_alone():
        alone.append((bare(options, clip, best, folder)[0], bare(options, clip, 1, folder)[1]))

    for number in range(options.rounds):
        contenders = [("streamdet", lambda: Served(options.streamdet, "--batch", batch)),
                      (f"streamdet --queue {SMALL_QUEUE}", lambda: Served(options.streamdet, "--batch", batch, "--queue", SMALL_QUEUE))]
        if options.python:
            contenders.append(("FastAPI", lambda: Python(options.python, folder)))
        for name, start in contenders:
            served = start()
            try:
                boxes = one_answer(served, image.read_bytes())
                load(served, max(options.clients), 2, script)
                measure_alone()
                for clients in options.clients if "queue" not in name else [max(options.clients)]:
                    got = load(served, clients, options.seconds, script)
                    measure_alone()
                    rate, own = (statistics.mean(both) for both in zip(*alone[-2:]))
                    got |= {"share": got["rate"] / rate, "over": got["p50"] - own}
                    runs[name, clients].append(got)
                    print(f"  round {number + 1}  {name:<20}{clients:>4} clients{got['rate']:8.1f}/s, p50 {got['p50']:.1f} ms; the detector alone {rate:.1f}/s, {own:.1f} ms ({boxes} boxes; others {got['others']:.0f} % CPU)", file=sys.stderr)
            finally:
                served.stop()
    return runs, *(statistics.median(both) for both in zip(*alone)), best, batch


def main():
    options = arguments()
    # Servers are stopped as well where this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory() as folder:
        runs, rate, own, best, batch = measured(options, pathlib.Path(folder))

    def median(key, what):
        return statistics.median(run[what] for run in runs[key])

    print(f"\n{'':<22}{'clients':>8}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'503/s':>9}{'failed':>8}{'of the bare detector':>22}{'others, % CPU':>15}")
    print(f"{'bare detector':<22}{'':>8}{rate:12.1f}{'':>9}{'':>9}{'':>9}{'':>8}{'at batch ' + str(best):>22}")
    print(f"{'  one image':<22}{'':>8}{1000 / own:12.1f}{own:9.1f}")
    for name, clients in runs:
        row = {what: median((name, clients), what) for what in ("rate", "p50", "p99", "refused", "failed", "others", "share")}
        print(f"{name:<22}{clients:>8}{row['rate']:12.1f}{row['p50']:9.1f}{row['p99']:9.1f}{row['refused']:9.1f}{row['failed']:8.0f}{row['share']:22.2f}{row['others']:15.0f}")
    print("\nCPU ms an answered request, by thread")
    for name, clients in runs:
        names = {thread for run in runs[name, clients] for thread in run["cpu"]}
        spent = {thread: statistics.median(run["cpu"].get(thread, 0) for run in runs[name, clients]) for thread in names}
        spent["wrk, a request"] = median((name, clients), "wrk")
        said = ", ".join(f"{thread} {ms:.1f}" for thread, ms in sorted(spent.items(), key=lambda one: -one[1]) if ms >= 0.05)
        print(f"{name:<22}{clients:>8}  {said}")
    most, least, queued = max(options.clients), min(options.clients), f"streamdet --queue {SMALL_QUEUE}"
    share, over = median(("streamdet", most), "share"), median(("streamdet", least), "over")
    steady = median((queued, most), "share") / share
    refused = median((queued, most), "refused")
    goals = [
        (f"throughput at {most} clients: {share:.2f} of the bare detector (goal {LEAST})", share >= LEAST),
        (f"p50 at {least} client(s): {over:+.1f} ms beside the detector's own time (goal {MOST_MS:+.1f})", over <= MOST_MS),
        (f"beyond --queue {SMALL_QUEUE}: {refused:.0f} refusals/s, answers at {steady:.2f} of the rate without (goal {STEADY})", steady >= STEADY and refused > 0),
    ]
    print()
    for said, holds in goals:
        print(f"{'good' if holds else 'NOT good':<10}{said}")
    if (most_others := max(run["others"] for of in runs.values() for run in of)) > CALM:
        print(f"\ndisturbed: other programs took up to {most_others:.0f} % of the processors")
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    print(f"\n{options.rounds} rounds of {options.seconds} s; --batch {batch}; {cpu}, {CORES} cores")
    sys.exit(0 if all(holds for _, holds in goals) else 1)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=pathlib.Path, help=f"a JPEG [default: a frame of {CLIP.name}]")
    parser.add_argument("--clients", type=lambda text: [int(n) for n in text.split(",")], default=[1, 4, 16, 64])
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, help="of `serve` [default: where the detector alone is fastest]")
    parser.add_argument("--frames", type=int, default=100, help="of the clip for the detector alone")
    parser.add_argument("--python", help="a Python with fastapi, uvicorn, ultralytics and onnxruntime")
    parser.add_argument("--streamdet", type=pathlib.Path, default=PROGRAM)
    options = parser.parse_args()
    if not options.streamdet.exists():
        parser.error(f"{options.streamdet} is not there; build it with `make build`")
    return options


if __name__ == "__main__":
    main()
