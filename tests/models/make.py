#!/usr/bin/env python3
"""Writes the models of tests/models.rs: a few hundred bytes each, whose outputs are all but constant.

python3 tests/models/make.py [FOLDER]    (needs the package onnx; the files are committed, this is how they came about)

Good ones take 64 x 64 pixels unless said otherwise and find what tests/models.rs states. Hostile ones are what a fuzzer,
a careless exporter or a bad neighbour might hand over.
"""

import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

FOLDER = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent
NUMPY = {T.FLOAT: np.float32, T.FLOAT16: np.float16, T.INT32: np.int32, T.INT64: np.int64}

PICTURES = ("images", T.FLOAT, [1, 3, 64, 64])
NAMES = {"names": "{0: 'cat', 1: 'dog', 2: 'bird'}"}
ULTRALYTICS = NAMES | {"stride": "32", "task": "detect", "imgsz": "[64, 64]", "end2end": "False"}
# Cells of strides 8, 16, 32 over 64 x 64 pixels; those of stride 64 with them.
CELLS, CELLS_64 = 64 + 16 + 4, 64 + 16 + 4 + 1


class Graph:
    """Nodes and initialisers under way."""

    def __init__(self):
        self.nodes, self.initialisers = [], []

    def constant(self, value, kind):
        name = f"c{len(self.initialisers)}"
        self.initialisers.append(numpy_helper.from_array(np.asarray(value, NUMPY[kind]), name))
        return name

    def node(self, operator, inputs, output=None, **attributes):
        output = output or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def sparse(self, name, kind, shape, values, fill=0):
        """An output that is `fill` but for `values`: {index: number}."""
        value = numpy_helper.from_array(np.full([1], fill, NUMPY[kind]))
        filled = self.node("ConstantOfShape", [self.constant(shape, T.INT64)], value=value)
        if not values:
            return self.node("Identity", [filled], name)
        indices = self.constant([list(index) for index in values], T.INT64)
        return self.node("ScatterND", [filled, indices, self.constant(list(values.values()), kind)], name)


def save(name, graph, inputs, outputs, metadata):
    info = [[helper.make_tensor_value_info(n, kind, dims) for n, kind, dims in side] for side in (inputs, outputs)]
    model = helper.make_model(
        helper.make_graph(graph.nodes, name, *info, graph.initialisers),
        ir_version=8,
        opset_imports=[helper.make_opsetid("", 17)],
        producer_name="streamdet",
    )
    helper.set_model_props(model, metadata)
    (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString())


def sparse(name, outputs, metadata=None, inputs=(PICTURES,), declared=None):
    """A model of constant outputs: [(name, type, shape, values[, fill])]."""
    graph = Graph()
    for output in outputs:
        graph.sparse(*output)
    declared = declared if declared is not None else [(n, kind, shape) for n, kind, shape, *_ in outputs]
    save(name, graph, inputs, declared, metadata or {})


def column(first, values):
    """One anchor of [1,channels,anchors]."""
    return {(0, channel, first): value for channel, value in enumerate(values)}


def row(first, values):
    """One row of [1,rows,columns]."""
    return {(0, first, at): value for at, value in enumerate(values)}


def good():
    centre = [32, 28, 32, 24]  # 16, 16, 48, 40 as corners
    corners = [16, 16, 48, 40]
    sparse("yolov5", [("output0", T.FLOAT, [1, 3 * CELLS, 8], row(9, [*centre, 0.9, 0.1, 0.2, 0.8]))])
    masks = ("output1", T.FLOAT, [1, 4, 16, 16], {})
    values = column(5, [*centre, 0.1, 0.2, 0.8, 9, 9, 9, 9])
    sparse("yolov8-seg", [("output0", T.FLOAT, [1, 11, CELLS], values), masks], ULTRALYTICS | {"task": "segment"})
    values = column(5, [*centre, 0.1, 0.2, 0.8, 30, 30, 9, 40, 40, 9])
    pose = ULTRALYTICS | {"task": "pose", "kpt_shape": "[2, 3]"}
    sparse("yolov8-pose", [("output0", T.FLOAT, [1, 13, CELLS], values)], pose)
    # Lying boxes, turned upright by a quarter: 24 wide and 32 high lie as 32 by 24.
    obb, turned = ULTRALYTICS | {"task": "obb"}, [32, 28, 24, 32]
    values = column(5, [*turned, 0.1, 0.2, 0.8, np.pi / 2])
    sparse("yolov8-obb", [("output0", T.FLOAT, [1, 8, CELLS], values)], obb)
    values = row(0, [*turned, 0.8, 2, np.pi / 2])
    sparse("end2end-obb", [("output0", T.FLOAT, [1, 20, 7], values)], obb | {"end2end": "True"})
    # Two boxes on the same place: chosen inside, so both stay. The third has a score of nothing.
    values = row(0, [*corners, 0.8, 2]) | row(1, [*corners, 0.7, 2]) | row(2, [*corners, 0.0, 2])
    sparse("end2end", [("output0", T.FLOAT, [1, 300, 6], values)], NAMES)
    values = row(0, [0.5, 0.4375, 0.5, 0.375, 0.1, 0.2, 0.8])
    sparse("rtdetr-ultralytics", [("output0", T.FLOAT, [1, 10, 7], values)], ULTRALYTICS)
    # The first cell of stride 64, whose point is 0, 0: right and bottom of 0 and 0.5 (an even mix of steps 0 and 1).
    steps = {3 + 8 * side + 0: 50 for side in range(4)} | {3 + 16 + 1: 50, 3 + 24 + 1: 50}
    values = {(0, CELLS_64 - 1, at): value for at, value in ({2: 0.8} | steps).items()}
    sparse("nanodet-plus", [("output", T.FLOAT, [1, CELLS_64, 35], values)])
    # Cell 1, 2 of stride 16: centre in its corner, sizes of half the input (the logit of 0.5 is 0).
    raw = {(0, 0, 2, 1): 0.8, (0, 7, 2, 1): 0.8}
    sparse("fastestdet-raw", [("output", T.FLOAT, [1, 8, 4, 4], raw)])
    kinds = [("num_dets", T.INT32, [1, 1]), ("det_boxes", T.FLOAT, [1, 4, 4])]
    kinds += [("det_scores", T.FLOAT, [1, 4]), ("det_classes", T.INT32, [1, 4])]
    # One is counted; what is beyond is left over from the last frame.
    values = [{(0, 0): 1}, row(0, corners) | row(1, corners), {(0, 0): 0.8, (0, 1): 0.9}, {(0, 0): 2, (0, 1): 1}]
    sparse("efficientnms", [(*kind, v) for kind, v in zip(kinds, values)], NAMES)
    # Two frames a run, the second with another box.
    values = column(5, [*centre, 0, 0, 0.8]) | {(1, *index[1:]): v for index, v in column(5, [32, 32, 64, 64, 0.7, 0, 0]).items()}
    pair = [("images", T.FLOAT, [2, 3, 64, 64])]
    sparse("yolov8-batch2", [("output0", T.FLOAT, [2, 7, CELLS], values)], ULTRALYTICS, pair)
    ssd()
    rtdetr()
    for channels_last in (False, True):
        for kind, suffix in ((T.FLOAT16, "f16"), (T.UINT8, "u8"), (T.FLOAT, "f32")):
            eye(kind, suffix, channels_last)


def ssd():
    """TensorFlow's API: bytes [N,h,w,3] of any size; one box, whose score is the mean of red over 255."""
    graph = Graph()
    pixels = graph.node("Cast", ["image_tensor:0"], to=T.FLOAT)
    mean = graph.node("ReduceMean", [pixels], axes=[0, 1, 2], keepdims=0)
    red = graph.node("Slice", [mean, graph.constant([0], T.INT64), graph.constant([1], T.INT64)])
    score = graph.node("Div", [red, graph.constant([255], T.FLOAT)])
    graph.node("Unsqueeze", [score, graph.constant([0], T.INT64)], "detection_scores:0")
    graph.sparse("detection_boxes:0", T.FLOAT, [1, 1, 4], row(0, [0.25, 0.25, 0.75, 0.5]))
    graph.sparse("detection_classes:0", T.FLOAT, [1, 1], {(0, 0): 3})
    graph.sparse("num_detections:0", T.FLOAT, [1], {(0,): 1})
    outputs = [("detection_boxes:0", T.FLOAT, ["N", 1, 4]), ("detection_classes:0", T.FLOAT, ["N", 1])]
    outputs += [("detection_scores:0", T.FLOAT, ["N", 1]), ("num_detections:0", T.FLOAT, ["N"])]
    save("ssd-u8", graph, [("image_tensor:0", T.UINT8, ["N", "h", "w", 3])], outputs, {})


def rtdetr():
    """Half floats in and out; boxes in fractions of the sizes that are given, as the DETR family scales them."""
    graph = Graph()
    sizes = graph.node("Cast", ["orig_target_sizes"], to=T.FLOAT16)
    both = graph.node("Concat", [sizes, sizes], axis=1)
    fractions = graph.constant([[[0.25, 0.25, 0.75, 0.625], [0, 0, 1, 1]]], T.FLOAT16)
    graph.node("Mul", [fractions, graph.node("Unsqueeze", [both, graph.constant([1], T.INT64)])], "boxes")
    graph.sparse("labels", T.INT64, [1, 2], {(0, 0): 2, (0, 1): 7})
    graph.sparse("scores", T.FLOAT16, [1, 2], {(0, 0): 0.8, (0, 1): 0.9})
    inputs = [("images", T.FLOAT16, [1, 3, 64, 64]), ("orig_target_sizes", T.INT64, [1, 2])]
    outputs = [("labels", T.INT64, [1, 2]), ("boxes", T.FLOAT16, [1, 2, 4]), ("scores", T.FLOAT16, [1, 2])]
    # Three names: the second box is of a class that there is not.
    save("rtdetr-f16", graph, inputs, outputs, NAMES)


def eye(kind, suffix, channels_last):
    """Three boxes side by side, whose scores are the means of the input's channels: how it came in."""
    dims, axes = ([1, 32, 32, 3], [1, 2]) if channels_last else ([1, 3, 32, 32], [2, 3])
    graph = Graph()
    pixels = graph.node("Cast", ["images"], to=T.FLOAT)
    scores = graph.node("ReduceMean", [pixels], axes=axes, keepdims=0)
    if kind == T.UINT8:
        scores = graph.node("Div", [scores, graph.constant([255], T.FLOAT)])
    scores = graph.node("Reshape", [scores, graph.constant([1, 3, 1], T.INT64)])
    boxes = graph.constant([[[0, 0, 10, 30], [10, 0, 20, 30], [20, 0, 30, 30]]], T.FLOAT)
    classes = graph.constant([[[0], [1], [2]]], T.FLOAT)
    both = graph.node("Concat", [boxes, scores, classes], axis=2)
    graph.node("Cast", [both], "output0", to=T.FLOAT16 if kind == T.FLOAT16 else T.FLOAT)
    output = ("output0", T.FLOAT16 if kind == T.FLOAT16 else T.FLOAT, [1, 3, 6])
    order = "nhwc" if channels_last else "nchw"
    save(f"eye-{suffix}-{order}", graph, [("images", kind, dims)], [output], ULTRALYTICS | {"end2end": "True"})


def hostile():
    box = column(5, [32, 28, 32, 24, 0.1, 0.2, 0.8])
    plain = ("output0", T.FLOAT, [1, 7, CELLS], box)
    sparse("hostile-names-control", [plain], ULTRALYTICS | {"names": "['cat', 'd\x1b]0;owned\x07og', 'bird']"})
    sparse("hostile-names-count", [plain], ULTRALYTICS | {"names": "{0: 'cat', 1000000000: 'dog'}"})
    sparse("hostile-stride", [plain], ULTRALYTICS | {"stride": "1000000000"})
    open_size = [("images", T.FLOAT, [1, 3, "h", "w"])]
    sparse("hostile-imgsz", [plain], ULTRALYTICS | {"imgsz": "[2000000000, 2000000000]"}, open_size)
    sparse("hostile-task", [plain], ULTRALYTICS | {"task": "\x1b[2J"})
    nothing = float("nan")
    sparse("hostile-nan", [("output0", T.FLOAT, [1, 7, CELLS], {}, nothing)], ULTRALYTICS)
    # One good box, one with a corner that is no number, one with a score that is none, one infinite.
    values = box | column(9, [nothing, 28, 32, 24, 0.9, 0, 0]) | column(12, [32, 28, 32, 24, nothing, 0, 0])
    values |= column(14, [32, 28, float("inf"), 24, 0.9, 0, 0])
    sparse("hostile-nan-some", [("output0", T.FLOAT, [1, 7, CELLS], values)], ULTRALYTICS)
    values = box | column(9, [32, 28, -32, -24, 0.9, 0, 0]) | column(12, [32, 28, 0, 24, 0.9, 0, 0])
    sparse("hostile-negative-size", [("output0", T.FLOAT, [1, 7, CELLS], values)], ULTRALYTICS)
    sparse("hostile-imgsz-negative", [plain], ULTRALYTICS | {"imgsz": "[-640, -640]"})
    # Declared so, and made at run time, where nobody sees it coming: 300 GB, if anybody let it.
    for name, shape, declared in [
        ("hostile-classes", [1, 1_000_000_004, CELLS], [1, 1_000_000_004, CELLS]),
        ("hostile-memory", [1, 7, 10_000_000_000], [1, 7, "anchors"]),
    ]:
        graph = Graph()
        size = graph.node("Slice", [graph.node("Shape", ["images"])] + [graph.constant([n], T.INT64) for n in (1, 4)])
        size = graph.node("Mul", [size, graph.constant([0, 0, 0], T.INT64)])
        graph.node("ConstantOfShape", [graph.node("Add", [size, graph.constant(shape, T.INT64)])], "output0")
        inputs = [("images", T.FLOAT, ["b", 3, "h", "w"])]
        save(name, graph, inputs, [("output0", T.FLOAT, declared)], ULTRALYTICS if name == "hostile-memory" else {})
    sparse("hostile-dims-negative", [plain], ULTRALYTICS, declared=[("output0", T.FLOAT, [-1, -7, -1000])])
    sparse("hostile-input-negative", [plain], ULTRALYTICS, [("images", T.FLOAT, [-1, 3, -64, -64])])
    sparse("hostile-input-zero", [plain], ULTRALYTICS, [("images", T.FLOAT, [1, 3, 0, 64])])
    sparse("hostile-input-huge", [plain], ULTRALYTICS, [("images", T.FLOAT, [1, 3, 1_000_000_000, 1_000_000_000])])
    sparse("hostile-input-rank", [plain], ULTRALYTICS, [("images", T.FLOAT, [3, 64])])
    sparse("hostile-input-none", [plain], ULTRALYTICS, [])
    sparse("hostile-rank", [("output0", T.FLOAT, [1, 7], {})], ULTRALYTICS)
    sparse("hostile-output-empty", [("output0", T.FLOAT, [1, 7, 0], {})], ULTRALYTICS)
    # What is declared is not what comes.
    open_shape = [("output0", T.FLOAT, ["b", 7, "n"])]
    sparse("hostile-lie-shape", [("output0", T.FLOAT, [1, 5, CELLS], {})], ULTRALYTICS, declared=open_shape)
    sparse("hostile-lie-rank", [("output0", T.FLOAT, [1, 7, CELLS, 1], {})], ULTRALYTICS, declared=open_shape)
    sparse("hostile-lie-empty", [("output0", T.FLOAT, [0, 7, CELLS], {})], ULTRALYTICS, declared=open_shape)
    sparse("hostile-outputs-none", [], ULTRALYTICS, declared=[])
    graph = Graph()
    text = helper.make_tensor("text", T.STRING, [1, 7, 1], [b"x"] * 7)
    graph.node("Constant", [], "output0", value=text)
    save("hostile-string", graph, [PICTURES], [("output0", T.STRING, [1, 7, 1])], ULTRALYTICS)
    # Counts and classes beyond everything.
    kinds = [("num_dets", T.INT32, [1, 1], {(0, 0): -5}), ("det_boxes", T.FLOAT, [1, 4, 4], row(0, [16, 16, 48, 40]))]
    kinds += [("det_scores", T.FLOAT, [1, 4], {(0, 0): 0.8}), ("det_classes", T.INT32, [1, 4], {(0, 0): 2})]
    sparse("hostile-count-negative", kinds, NAMES)
    kinds[0] = ("num_dets", T.INT32, [1, 1], {(0, 0): 2_000_000_000})
    kinds[3] = ("det_classes", T.INT32, [1, 4], {(0, 0): 2_000_000_000})
    sparse("hostile-count-huge", kinds, NAMES)


if __name__ == "__main__":
    good()
    hostile()
