#!/usr/bin/env python3
"""Holds streamdet's detections against those of the reference implementation (Ultralytics) with the same model.

Runs the real program on the pictures and the clip that the reference saw, with the reference's settings and the CPU
provider in float32, and prints a table. Exits 1 when a limit is missed, 0 when all hold or the data is not there.

How boxes are paired: within one picture and class, one to one, the best overlap first, at an IoU of 0.95 or more. Both
sides take part with every box down to a confidence of 0.25, because a box that one side puts at 0.301 may be at 0.299 on
the other. What is then counted are only boxes of 0.3 and more:
  matched   of the reference's boxes >= 0.3: how many have a partner (of whatever confidence)
  |dconf|   over those pairs: by how much the confidences differ
  extra     of our boxes >= 0.3: how many have no partner in the reference (of whatever confidence)
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

PROJECT = pathlib.Path(__file__).resolve().parent.parent
MODEL = "models/yolov8n_coco_dynamic.onnx"
REFERENCE = "data/reference/ultralytics"
# The reference's settings.
IMGSZ, CONF, IOU = "640", "0.25", "0.7"
# Where the user has ONNX Runtime; the one setting from the environment that is kept.
RUNTIME = "STREAMDET_ONNXRUNTIME"

# Boxes are counted from here on.
COUNTED = 0.3
# Overlap from which two boxes are the same.
SAME = 0.95

# name, reference file, where the pictures are or the clip, limits: matched % at least, median and max |dconf| at most,
# extra % at most. Without limits: for information.
CASES = [
    ("COCO pictures", "yolov8n_coco_images.json", "data/coco/images", (99.0, 0.005, 0.05, 1.0)),
    ("car-detection.mp4", "yolov8n_car_detection_mp4.json", "data/video/car-detection.mp4", (98.0, 0.02, 0.12, 2.0)),
    ("VisDrone pictures", "yolov8n_visdrone_images.json", "data/visdrone/images", None),
]
HEADER = ["what", "pictures", "boxes", "matched %", "median |dconf|", "max |dconf|", "extra %", "limits", ""]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=PROJECT / "target/release/streamdet", help="default: %(default)s")
    parser.add_argument(
        "--data",
        default=os.environ.get("STREAMDET_TEST_DATA", PROJECT.parent / "shared"),
        help="folder with data/ and models/; default: STREAMDET_TEST_DATA, or ../shared beside the project",
    )
    parser.add_argument("--show", action="store_true", help="list every box without a partner, and the largest |dconf|")
    options = parser.parse_args()
    data = pathlib.Path(options.data)

    needed = [MODEL] + [path for _, reference, media, _ in CASES for path in (f"{REFERENCE}/{reference}", media)]
    absent = [path for path in needed if not (data / path).exists()]
    if absent:
        print(f"skipped: {data / absent[0]} is not there (STREAMDET_TEST_DATA)")
        return 0

    program = pathlib.Path(options.program).resolve()
    if not program.is_file():
        sys.exit(f"{program} is not there: build it with `make build`")

    rows, failed = [HEADER], False
    for name, reference, media, limits in CASES:
        theirs = json.loads((data / REFERENCE / reference).read_text())
        ours = detect(program, data, media, theirs)
        result = Comparison(theirs, ours)
        if options.show:
            result.show(name)
        verdict = "" if limits is None else "ok" if result.holds(*limits) else "FAIL"
        failed |= verdict == "FAIL"
        rows.append([name, *result.figures(), describe(limits), verdict])
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    for row in rows:
        # Words to the left, numbers to the right.
        cells = [cell.ljust(w) if at in (0, 7) else cell.rjust(w) for at, (cell, w) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())
    return 1 if failed else 0


def detect(program, data, media, reference):
    """What the program finds, as the reference lists it: one list of detections an entry; None where a line is missing."""
    source = data / media
    with tempfile.TemporaryDirectory() as folder:
        pictures = source.is_dir()
        if pictures:
            # A folder with exactly the reference's pictures is one stream.
            source = pathlib.Path(folder) / "pictures"
            source.mkdir()
            for entry in reference:
                (source / entry["file"]).symlink_to((data / media / entry["file"]).resolve())
        lines = pathlib.Path(folder) / "found.jsonl"
        command = [program, "detect", source, "-q", "-o", "none", "--json", lines, "-m", data / MODEL]
        command += ["--provider", "cpu", "--precision", "fp32", "--imgsz", IMGSZ, "--conf", CONF, "--iou", IOU]
        # Whatever the developer's own settings are.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("STREAMDET_") or k == RUNTIME}
        environment["XDG_CONFIG_HOME"] = folder
        status = subprocess.run(command, stdin=subprocess.DEVNULL, env=environment).returncode
        if status != 0:
            sys.exit(f"{media}: streamdet ended with exit code {status}")
        found = {}
        for line in map(json.loads, lines.read_text().splitlines()):
            key = pathlib.Path(line["file"]).name if pictures else line["frame"]
            found[key] = line["detections"]
    keys = [entry["file"] if pictures else number for number, entry in enumerate(reference)]
    beyond = sorted(set(found) - set(keys))
    if beyond:
        sys.exit(f"{media}: {len(beyond)} pictures that the reference does not have, {beyond[0]} the first")
    return [found.get(key) for key in keys]


class Comparison:
    """One set of pictures: the reference's boxes against ours."""

    def __init__(self, theirs, ours):
        self.pictures = len(theirs)
        self.absent = sum(found is None for found in ours)
        self.boxes, self.counted = 0, 0
        self.pairs, self.missed, self.extra = [], [], []
        for number, (entry, found) in enumerate(zip(theirs, ours)):
            where = f"{entry['file']} #{number}"
            expected, found = entry["detections"], found or []
            partner = pair(expected, found)
            for index, box in enumerate(expected):
                if box["confidence"] >= COUNTED:
                    self.boxes += 1
                    if index in partner:
                        self.pairs.append((abs(box["confidence"] - found[partner[index]]["confidence"]), where, box))
                    else:
                        self.missed.append((where, box))
            taken = set(partner.values())
            for index, box in enumerate(found):
                if box["confidence"] >= COUNTED:
                    self.counted += 1
                    if index not in taken:
                        self.extra.append((where, box))
        # Nothing to compare is no agreement.
        self.matched = 100 * len(self.pairs) / self.boxes if self.boxes else 0.0
        self.extra_share = 100 * len(self.extra) / max(self.counted, 1)
        differences = [difference for difference, _, _ in self.pairs] or [float("inf")]
        self.median, self.largest = statistics.median(differences), max(differences)

    def holds(self, matched, median, largest, extra):
        return (
            self.absent == 0
            and self.matched >= matched
            and self.median <= median
            and self.largest <= largest
            and self.extra_share <= extra
        )

    def figures(self):
        pictures = str(self.pictures) if self.absent == 0 else f"{self.pictures - self.absent} of {self.pictures}"
        return [
            pictures,
            str(self.boxes),
            f"{self.matched:.2f}",
            f"{self.median:.4f}",
            f"{self.largest:.4f}",
            f"{self.extra_share:.2f}",
        ]

    def show(self, name):
        for label, boxes in (("no partner in ours", self.missed), ("no partner in the reference", self.extra)):
            for where, box in boxes:
                print(f"{name}: {label}: {where} class {box['class_id']} {box['confidence']:.3f} {box['box']}")
        for difference, where, box in sorted(self.pairs, key=lambda pair: -pair[0])[:10]:
            print(f"{name}: |dconf| {difference:.4f}: {where} class {box['class_id']} {box['confidence']:.3f} {box['box']}")


def pair(expected, found):
    """Partners, {index in expected: index in found}: same class, IoU of SAME or more, the best overlap first."""
    overlaps = sorted(
        (
            (overlap, i, j)
            for i, a in enumerate(expected)
            for j, b in enumerate(found)
            if a["class_id"] == b["class_id"] and (overlap := iou(a["box"], b["box"])) >= SAME
        ),
        key=lambda entry: (-entry[0], entry[1], entry[2]),
    )
    partner, taken = {}, set()
    for _, i, j in overlaps:
        if i not in partner and j not in taken:
            partner[i] = j
            taken.add(j)
    return partner


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    area = width * height
    return area / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - area)


def describe(limits):
    if limits is None:
        return "none"
    matched, median, largest, extra = limits
    return f">= {matched:g} %, <= {median:g}, <= {largest:g}, <= {extra:g} %"


if __name__ == "__main__":
    sys.exit(main())
