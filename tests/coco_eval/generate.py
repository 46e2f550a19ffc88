"""Makes truth.json, found.json and figures.json: made-up boxes and what the official evaluator says of them.

    pip install pycocotools && python3 tests/coco_eval/generate.py

Crowds, masks smaller than their boxes, objects of every size, equal scores, equal boxes, more boxes than count, pictures
and classes without anything: what an evaluator can get wrong.
"""

import json
import random
from pathlib import Path

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

HERE = Path(__file__).parent
KEYS = "map50_95 map50 map75 map_small map_medium map_large ar_1 ar_10 ar_max ar_small ar_medium ar_large".split()


def main():
    rng = random.Random(7)
    images = [{"id": 100 - n, "file_name": f"{n}.jpg", "width": 640, "height": 480} for n in range(24)]
    categories = [{"id": n, "name": f"class {n}"} for n in (3, 1, 8, 5)]
    truths, found = [], []
    for image in images[:-2]:
        for _ in range(rng.randrange(9)):
            side = rng.choice([12, 30, 60, 95, 140, 220])
            box = [rng.randrange(400), rng.randrange(250), side + rng.randrange(9), side + rng.randrange(9)]
            category = rng.choice([1, 1, 1, 3, 3, 8])
            crowd = int(rng.random() < 0.15)
            truth = {"id": len(truths) + 1, "image_id": image["id"], "category_id": category, "bbox": box}
            truths.append(truth | {"area": box[2] * box[3] * rng.choice([1, 0.7]), "iscrowd": crowd})
            for _ in range(rng.randrange(5)):
                off = lambda: rng.choice([0, 0, rng.randrange(-9, 10)])  # noqa: E731
                near = [box[0] + off(), box[1] + off(), max(1, box[2] + off()), max(1, box[3] + off())]
                if crowd:
                    near[2:] = [box[2] // 3 + 1, box[3] // 3 + 1]
                near_class = rng.choice([category, category, category, 1])
                found.append({"image_id": image["id"], "category_id": near_class, "bbox": near})
        for _ in range(rng.randrange(6)):
            box = [rng.randrange(500), rng.randrange(300), rng.randrange(1, 99), rng.randrange(1, 99)]
            found.append({"image_id": image["id"], "category_id": rng.choice([1, 3, 8, 5]), "bbox": box})
    crowded = images[3]["id"]
    for n in range(130):
        box = [20 * (n % 26), 60 * (n // 26), 18, 50]
        if n % 3:
            truth = {"id": len(truths) + 1, "image_id": crowded, "category_id": 3, "bbox": box, "area": 900, "iscrowd": 0}
            truths.append(truth)
        found.append({"image_id": crowded, "category_id": 3, "bbox": [box[0] + n % 4, *box[1:]]})
    for box in found:
        box["score"] = rng.choice([0.25, 0.5, round(rng.random(), 3)])
    rng.shuffle(truths)
    rng.shuffle(found)

    def write(name, value):
        (HERE / name).write_text(json.dumps(value, separators=(",", ":")).replace("},{", "},\n{") + "\n")

    write("truth.json", {"images": images, "categories": categories, "annotations": truths})
    write("found.json", found)
    truth = COCO(str(HERE / "truth.json"))
    evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    (HERE / "figures.json").write_text(json.dumps(dict(zip(KEYS, evaluation.stats)), indent=1) + "\n")


main()
