"""Makes sets.json: made-up tracks, and what TrackEval says of them.

    pip install trackeval==1.3.0 && python3 tests/mot/generate.py

Equal boxes and equal overlaps, overlaps of exactly a threshold, tracks that swap, end and come back, boxes without area, rows
in any order, frames and files without rows, flags, distractors: what an evaluator can get wrong.
"""

import contextlib
import io
import json
import random
import shutil
import tempfile
from pathlib import Path

import trackeval

HERE = Path(__file__).parent
COUNTS = {"TP": "CLR_TP", "FP": "CLR_FP", "FN": "CLR_FN"} | {n: n for n in "IDSW Frag MT PT ML".split()}
OF_HOTA = "HOTA DetA AssA DetRe DetPr AssRe AssPr LocA".split()


def track(rng, frames, sides, step):
    """A walk with breaks: (frame, left, top, width, height)."""
    first, last = sorted(rng.sample(range(1, frames + 2), 2))
    left, top = rng.randrange(0, 60, step), rng.randrange(0, 60, step)
    width, height = rng.choice(sides), rng.choice(sides)
    for frame in range(first, last):
        left, top = left + rng.choice([-step, 0, 0, step]), top + rng.choice([-step, 0, 0, step])
        if rng.random() > 0.12:
            yield frame, left, top, width, height


def made(rng, number, benchmark):
    """Rows of ground truth and of a result, and how many frames there are."""
    frames = rng.choice([1, 2, 6, 12, 12, 20])
    people = rng.choice([1, 2, 3, 5, 5, 8]) if number % 12 else rng.choice([14, 24])
    step, sides = rng.choice([(2, [16]), (2, [10, 20]), (1, [11, 17, 30]), (5, [20, 40])])
    frames = min(frames, 6) if people > 8 else frames
    noise = rng.choice([0, 0.3, 1, 4])
    off = lambda: rng.choice([0, 0, 1, -1]) * (round(rng.random() * noise, 1) if noise < 4 else rng.choice([2, 4, 8]))  # noqa: E731
    truth, found = [], []
    for person in range(people):
        mark = rng.choice([1, 1, 1, 2, 6, 7, 8, 12, 13]) if benchmark != "MOT15" else -1
        number_of = person + 1
        for frame, left, top, width, height in track(rng, frames, sides, step):
            tail = [int(rng.random() > 0.1), mark, 1] if benchmark != "MOT15" else [int(rng.random() > 0.1), -1, -1, -1]
            truth.append([frame, person * 3, left, top, width, height, *tail])
            if rng.random() < 0.08:
                number_of = rng.randrange(1, people + 3)
            if rng.random() > 0.15:
                flat = int(rng.random() > 0.02)
                found.append([frame, number_of, left + off(), top + off(), max(0, width + off()), height * flat])
    for other in range(rng.choice([0, 1, 3])):
        for frame, *box in track(rng, frames, sides, step):
            found.append([frame, 50 + other, *box])
    unique = {(row[0], row[1]): row for row in found}
    found = [[*row, 1, -1, -1, -1] for row in unique.values()]
    if number % 20 == 7:
        found = []
    if number % 20 == 13:
        truth = []
    if number % 3:
        rng.shuffle(truth)
        rng.shuffle(found)
    return truth, found, frames


def text(rows):
    return "".join(",".join(f"{v:g}" for v in row) + "\n" for row in rows)


def figures(result):
    hota, clear, identity = (result["pedestrian"][m] for m in ("HOTA", "CLEAR", "Identity"))
    shares = {n: float(hota[n].mean()) for n in OF_HOTA} | {n: float(clear[n]) for n in ("MOTA", "MOTP")}
    shares |= {n: float(identity[n]) for n in ("IDF1", "IDP", "IDR")}
    counts = {n: int(clear[of]) for n, of in COUNTS.items()} | {n: int(identity[n]) for n in ("IDTP", "IDFP", "IDFN")}
    return {n: round(v, 12) for n, v in shares.items()} | counts


def evaluated(benchmark, sets):
    folder = Path(tempfile.mkdtemp())
    for name, (truth, found, _) in sets.items():
        for path, rows in ((f"gt/{name}/gt/gt.txt", truth), (f"tr/t/data/{name}.txt", found)):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text(rows))
    with contextlib.redirect_stdout(io.StringIO()):
        data = trackeval.datasets.MotChallenge2DBox({
            "GT_FOLDER": str(folder / "gt"), "TRACKERS_FOLDER": str(folder / "tr"), "BENCHMARK": benchmark,
            "SPLIT_TO_EVAL": "train", "SKIP_SPLIT_FOL": True, "SEQ_INFO": {name: s[2] for name, s in sets.items()},
        })
        metrics = [trackeval.metrics.HOTA(), trackeval.metrics.CLEAR(), trackeval.metrics.Identity()]
        quiet = {"OUTPUT_SUMMARY": False, "OUTPUT_DETAILED": False, "PLOT_CURVES": False}
        result = trackeval.Evaluator(quiet).evaluate([data], metrics)[0]["MotChallenge2DBox"]["t"]
    shutil.rmtree(folder)
    return {
        "combined": figures(result["COMBINED_SEQ"]),
        "sequences": {
            name: {"frames": length, "gt": text(truth), "result": text(found), "figures": figures(result[name])}
            for name, (truth, found, length) in sets.items()
        },
    }


def main():
    rng = random.Random(14)
    all_sets = {}
    for benchmark, count in (("MOT15", 120), ("MOT17", 50), ("MOT20", 30)):
        sets = {f"set-{n:03}": made(rng, n, benchmark) for n in range(count)}
        all_sets[benchmark.lower()] = evaluated(benchmark, sets)
    (HERE / "sets.json").write_text(json.dumps(all_sets, separators=(",", ":")).replace('"set-', '\n"set-') + "\n")


main()
