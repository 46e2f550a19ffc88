#!/usr/bin/env python3
"""streamdet and Ultralytics side by side, in one run: the same clip, the same model, both saving the annotated video.

Contenders take turns (A B C A B C ...), so that whatever else the machine does meets all of them. Every one runs in a
process of its own. Two figures come out, in frames a second: the steady state (from the first frame's result on, loading
and compiling left out) and the whole process as the shell sees it. A ratio is one of medians over the rounds. What each says of its
own preprocessing, inference and postprocessing stands side by side below.

The peer runs in a virtual environment of its own, made once:

    python3 -m venv target/bench/venv
    target/bench/venv/bin/pip install ultralytics onnxruntime openvino

    make compare                                    # with the shared test data: $STREAMDET_TEST_DATA, or ../shared
    benches/compare.py --model yolov8n.onnx --source clip.mp4 --rounds 7

What makes it fair: the peer gets the same ONNX file, for OpenVINO converted as its own export converts it, the same
thresholds and tensor (640 rectangular: 384x640 for 16:9), `stream=True` and no printing. It writes what it writes by
default, Motion JPEG, which costs less than the H.264 that streamdet writes. Figures of one machine at one time: run it
on yours.
"""

import argparse
import ast
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import resource
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "target" / "bench"
SIZE = (1920, 1080)
IMGSZ, CONF, IOU = 640, 0.25, 0.7
# Ultralytics' own switches: no look at the network, no installing of packages, no settings outside the folder.
QUIET = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_CONFIG_DIR": str(FOLDER / "ultralytics")}
GOALS = {"onnx": 2.0, "openvino": 1.3}
NAMES = {
    "streamdet": "streamdet",
    "onnx": "Ultralytics, ONNX Runtime",
    "openvino": "Ultralytics, OpenVINO",
    "openvino-static": "Ultralytics, OpenVINO, fixed shape",
}


def main():
    options = arguments()
    if options.peer:
        print(json.dumps(peer_convert(options) if options.peer == "convert" else peer_predict(options)))
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    clip, frames = make_clip(options)
    folders = {}
    for name in options.contenders:
        if name.startswith("openvino"):
            folders[name] = convert(options, fixed=name.endswith("static"))
    runs = {name: [] for name in options.contenders}
    for number in range(options.rounds):
        for name in options.contenders:
            if name == "streamdet":
                run = run_streamdet(options, clip, frames)
            else:
                run = run_peer(options, clip, frames, folders.get(name, options.model))
            runs[name].append(run)
            print(
                f"round {number + 1}/{options.rounds}  {NAMES[name]:<35}{run['steady_fps']:7.1f} frames/s, "
                f"whole process {run['wall_fps']:6.1f}, {run['boxes']} boxes",
                file=sys.stderr,
            )
    about = machine(options, clip, frames)
    (FOLDER / "compare.json").write_text(json.dumps({"about": about, "runs": runs}, indent=1) + "\n")
    print(table(runs, about))


def arguments():
    data = pathlib.Path(os.environ.get("STREAMDET_TEST_DATA", ROOT.parent / "shared"))
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], epilog=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=pathlib.Path, default=data / "models" / "yolov8n_coco_dynamic.onnx")
    parser.add_argument("--source", type=pathlib.Path, default=data / "data" / "video" / "nvidia_Retail02_short.mp4")
    parser.add_argument("--frames", type=int, default=300, help="frames of the clip [300]")
    parser.add_argument("--rounds", type=int, default=5, help="runs of every contender [5]")
    parser.add_argument("--venv", type=pathlib.Path, default=FOLDER / "venv", help="where Ultralytics is installed")
    parser.add_argument("--streamdet", type=pathlib.Path, default=ROOT / "target" / "release" / "streamdet")
    parser.add_argument("--arg", action="append", default=[], help="a further argument for streamdet, e.g. --arg=--batch=2")
    parser.add_argument(
        "--contenders",
        type=lambda text: text.split(","),
        default=["streamdet", "onnx", "openvino"],
        help=f"which, in order, of {','.join(NAMES)} [streamdet,onnx,openvino]",
    )
    parser.add_argument("--peer", choices=["predict", "convert"], help=argparse.SUPPRESS)
    parser.add_argument("--fixed", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for path in [options.model, options.source]:
        if not path.exists():
            parser.error(f"{path} is not there; give --model and --source, or set STREAMDET_TEST_DATA")
    unknown = [name for name in options.contenders if name not in NAMES]
    if unknown:
        parser.error(f"--contenders {unknown[0]}: give some of {', '.join(NAMES)}")
    if options.peer:
        return options
    if not options.streamdet.exists():
        parser.error(f"{options.streamdet} is not there; build it with `make build`")
    if options.contenders != ["streamdet"] and not python(options).exists():
        parser.error(
            f"{options.venv} is not there; make it with\n"
            f"  python3 -m venv {options.venv}\n"
            f"  {options.venv}/bin/pip install ultralytics onnxruntime openvino"
        )
    return options


def python(options):
    return options.venv / "bin" / "python"


def make_clip(options):
    """The 1080p H.264 clip, made once, and how many frames it has."""
    clip = FOLDER / f"{options.source.stem}-1080p-{options.frames}.mp4"
    if not clip.exists():
        part = clip.with_suffix(".part.mp4")
        width, height = SIZE
        command = ["ffmpeg", "-v", "error", "-y", "-i", options.source, "-map", "0:v:0", "-frames:v", options.frames]
        command += ["-vf", f"scale={width}:{height}", "-c:v", "libx264", "-pix_fmt", "yuv420p", part]
        subprocess.run([str(word) for word in command], check=True)
        part.rename(clip)
    count = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-count_packets", "-show_entries"]
    count += ["stream=nb_read_packets", "-of", "csv=p=0", str(clip)]
    return clip, int(subprocess.run(count, check=True, capture_output=True, text=True).stdout.strip().strip(","))


def timed(command, environment=None, each_line=None):
    """Runs to the end: wall seconds, CPU seconds, and standard output. `each_line` sees standard error as it comes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(word) for word in command],
        env=environment,
        stdout=None if each_line else subprocess.PIPE,
        stderr=subprocess.PIPE if each_line else None,
        text=True,
    )
    out = ""
    if each_line:
        for line in process.stderr:
            each_line(line)
    else:
        out, _ = process.communicate()
    code = process.wait()
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if code != 0:
        sys.exit(f"{command[0]} failed with exit code {code}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, out


def run_streamdet(options, clip, frames):
    out, report = FOLDER / "streamdet.mp4", FOLDER / "streamdet.json"
    command = [options.streamdet, "detect", clip, "-m", options.model, "-o", out, "--overwrite", "--report", report]
    # A line a frame says when the first result is there.
    command += ["-v", "--conf", CONF, "--iou", IOU, "--imgsz", IMGSZ, *options.arg]
    seen = {"boxes": 0}

    def watch(line):
        # video 1/1 (frame 12/300) clip.mp4: 384x640 4 persons, 1 car, 9.4ms
        if " (frame " in line:
            seen.setdefault("first", time.perf_counter())
            found = re.search(r": \d+x\d+ (.+), [\d.]+ms$", line.rstrip())
            counts = re.findall(r"(?:^|, )(\d+) ", found[1]) if found else []
            seen["boxes"] += sum(int(count) for count in counts)
        elif line.startswith("error"):
            print(line, end="", file=sys.stderr)

    wall, cpu, _ = timed(command, each_line=watch)
    # Pictures may still be in the encoder at the last result: for streamdet the clock runs until the process has ended.
    steady = time.perf_counter() - seen["first"]
    result = json.loads(report.read_text())
    processed = sum(stream["frames"]["processed"] for stream in result["streams"])
    check(processed, frames, "streamdet")
    provider = result["provider"]
    return {
        "wall_s": wall,
        "cpu_s": cpu,
        "steady_fps": frames / steady,
        "wall_fps": frames / wall,
        "boxes": seen["boxes"],
        "versions": {"streamdet": f"{result['version']}, {provider['actual']} ({provider['detail']})"},
        "tensor": result["model"]["input"],
        "latency_p50_ms": {stage: figures["p50"] for stage, figures in result["latency_ms"].items()},
    }


def convert(options, fixed):
    done = json.loads(peer(options, "convert", "--model", options.model, *(["--fixed"] if fixed else []))[2])
    return pathlib.Path(done["folder"])


def run_peer(options, clip, frames, model):
    wall, cpu, out = peer(options, "predict", "--model", model, "--source", clip)
    result = json.loads(out.splitlines()[-1])
    check(result["frames"], frames, "Ultralytics")
    return {
        "wall_s": wall,
        "cpu_s": cpu,
        "steady_fps": frames / result["steady_s"],
        "wall_fps": frames / wall,
        **{key: result[key] for key in ("boxes", "versions", "tensor", "latency_p50_ms")},
    }


def peer(options, what, *words):
    environment = {**os.environ, **QUIET}
    # Without its compiled modules Python would take longer to start.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return timed([python(options), __file__, "--peer", what, *words], environment)


def check(processed, frames, who):
    if processed != frames:
        sys.exit(f"{who} processed {processed} frames of {frames}: there is nothing to compare")


def peer_convert(options):
    """What Ultralytics' own export to OpenVINO writes, from the ONNX file: the IR and metadata.yaml."""
    import onnxruntime
    import openvino

    folder = FOLDER / f"{options.model.stem}{'_fixed' if options.fixed else ''}_openvino_model"
    metadata = onnxruntime.InferenceSession(str(options.model)).get_modelmeta().custom_metadata_map
    model = openvino.convert_model(options.model)
    if options.fixed:
        height, width = rectangular(*SIZE, int(metadata.get("stride", 32)))
        model.reshape([1, 3, height, width])
        metadata["imgsz"] = f"[{height}, {width}]"
        metadata["args"] = str({**ast.literal_eval(metadata.get("args", "{}")), "dynamic": False})
    # In single precision, as the ONNX file is and as that export does it: the plugin chooses what it computes in.
    openvino.save_model(model, folder / f"{options.model.stem}.xml", compress_to_fp16=False)
    # JSON is YAML.
    (folder / "metadata.yaml").write_text(json.dumps(metadata, indent=1))
    return {"folder": str(folder)}


def rectangular(width, height, stride):
    """Height and width of the tensor for such a picture: its longer side is IMGSZ, both are multiples of the stride."""
    scale = IMGSZ / max(width, height)
    return tuple(-(-round(side * scale) // stride) * stride for side in (height, width))


def peer_predict(options):
    from ultralytics import YOLO

    model = YOLO(options.model, task="detect")
    settings = {"conf": CONF, "iou": IOU, "imgsz": IMGSZ, "device": "cpu", "verbose": False}
    output = {"save": True, "project": str(FOLDER / "ultralytics"), "name": "run", "exist_ok": True}
    first = last = None
    frames = boxes = 0
    speeds = []
    for result in model.predict(str(options.source), stream=True, **settings, **output):
        last = time.perf_counter()
        first = first or last
        frames += 1
        boxes += len(result.boxes)
        speeds.append(result.speed)
    backend = model.predictor.model
    versions = {name: importlib.metadata.version(name) for name in ("ultralytics", "torch", "opencv-python")}
    library = "openvino" if backend.format == "openvino" else "onnxruntime"
    versions[library] = importlib.metadata.version(library)
    tensor = [1, 3, *rectangular(*SIZE, int(backend.stride))]
    stages = {stage: statistics.median(speed[stage] for speed in speeds) for stage in speeds[0]}
    return {
        "frames": frames,
        "steady_s": last - first,
        "boxes": boxes,
        "versions": versions,
        "tensor": tensor,
        "latency_p50_ms": stages,
    }


def machine(options, clip, frames):
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    cores = len(os.sched_getaffinity(0))
    return {
        "machine": f"{cpu}, {cores} cores, {platform.system()} {platform.machine()}",
        "date": datetime.date.today().isoformat(),
        "clip": f"{clip.name}, {frames} frames",
        "model": options.model.name,
    }


def table(runs, about):
    def spread(name, key):
        values = [run[key] for run in runs[name]]
        return min(values), statistics.median(values), max(values)

    lines = [
        "",
        f"{'':<36}{'steady state, frames/s':^25}{'whole process, frames/s':^27}{'CPU':>8}",
        f"{'':<36}{'min':>8}{'median':>8}{'max':>8}  {'min':>8}{'median':>8}{'max':>8}  {'ms/frame':>8}",
    ]
    for name in runs:
        frames = runs[name][0]["wall_fps"] * runs[name][0]["wall_s"]
        steady = "".join(f"{value:8.1f}" for value in spread(name, "steady_fps"))
        whole = "".join(f"{value:8.1f}" for value in spread(name, "wall_fps"))
        lines.append(f"{NAMES[name]:<36}{steady}  {whole}  {1000 * spread(name, 'cpu_s')[1] / frames:8.1f}")
    lines.append("")
    for name in [name for name in runs if name != "streamdet" and "streamdet" in runs]:
        ratio, whole = (spread("streamdet", key)[1] / spread(name, key)[1] for key in ("steady_fps", "wall_fps"))
        rounds = [ours["steady_fps"] / theirs["steady_fps"] for ours, theirs in zip(runs["streamdet"], runs[name])]
        goal = f", goal {GOALS[name]:.1f}" if name in GOALS else ""
        lines.append(
            f"streamdet / {NAMES[name]}: {ratio:.2f} (by round {min(rounds):.2f} to {max(rounds):.2f}{goal}), "
            f"whole process {whole:.2f}"
        )
    # Each program's own clock: the elapsed time of a frame's stage, the median over frames and then over rounds.
    stages = ("preprocess", "inference", "postprocess")
    lines += ["", f"{'own figures, ms a frame (median)':<36}" + "".join(f"{stage:>13}" for stage in stages)]
    for name in runs:
        own = [statistics.median(run["latency_p50_ms"][stage] for run in runs[name]) for stage in stages]
        lines.append(f"{NAMES[name]:<36}" + "".join(f"{value:13.2f}" for value in own))
    versions = {}
    for name in runs:
        versions.update(runs[name][0]["versions"])
    about = {
        **about,
        "rounds": len(next(iter(runs.values()))),
        "tensor": " ".join(sorted({"x".join(map(str, run["tensor"])) for all_runs in runs.values() for run in all_runs})),
        "versions": "; ".join(f"{name} {version}" for name, version in versions.items()),
    }
    lines.append("")
    lines.extend(f"{key:<10}{value}" for key, value in about.items())
    return "\n".join(lines)


if __name__ == "__main__":
    main()
