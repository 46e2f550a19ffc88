#!/usr/bin/env python3
"""Ten thousand hostile bodies against `streamdet serve`, with slow senders, a thousand idle connections, and an honest client meanwhile.

What is sent is made from a seed: images that are cut short or damaged, small files of huge images, compressed gigabytes, what is no image,
malformed JSON, forms without an end and with thousands of parts, tensors whose shapes, numbers and lengths do not fit, and requests
that are none. Meanwhile several dozen clients send a byte a second, some never read what they are answered, a thousand connections
do nothing, and one client sends a real image again and again. At the end:

- every hostile request was answered with a status that fits it, and none with a failure of the program
- every honest request was answered with 200, and /healthz is 200
- memory is what it was after the first half of them (a twentieth is allowed, for the heap's fragments), and so are descriptors and threads:
  what is made once, for sizes and connections that come, is there by then, and what is lost by each body goes on
- no slow sender was heard for longer than its time, and SIGTERM ends the program with 0

    benches/hostile.py                       # 10,000: some minutes
    benches/hostile.py --bodies 1000 --seed 7

Needs ffmpeg, the release build, and the clip that `make demo` downloads (or --image). Exit code: 0 when all of it holds.
"""

import argparse
import collections
import gzip
import io
import json
import pathlib
import queue
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zlib

from serving import PROGRAM, Served, frame, quantile

MODEL = "visdrone-nano"
INFER = f"/v2/models/{MODEL}/infer"
SENDERS = 8
SLOW, UNREAD, IDLE = 48, 8, 1000
# Longest that a slow sender is heard, seconds: 15 for a head, a minute for a body (docs/serve.md), and some to be told.
HEARD = 75
# What may be answered to an image that is damaged: readers make something of many.
DAMAGED = {200, 413, 415, 422}
MOST_GROWTH = 1.05
# Sizes of images before the first measurement, and how often each.
SIZES, AGAIN = 24, 6


def request(method, path, body=b"", *headers):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def detect(body, kind="image/jpeg", *headers, query=""):
    return request("POST", f"/v1/detect{query}", body, *([f"Content-Type: {kind}"] if kind else []), *headers)


def infer(text, binary=None):
    if not isinstance(text, (str, bytes)):
        text = json.dumps(text)
    text = text.encode() if isinstance(text, str) else text
    if binary is None:
        return request("POST", INFER, text, "Content-Type: application/json")
    return request("POST", INFER, text + binary, f"Inference-Header-Content-Length: {len(text)}")


def tensor(shape, datatype="FP32", name="images", **more):
    return {"inputs": [{"name": name, "shape": shape, "datatype": datatype, **more}]}


def png(width, height, bits=8, cut=None):
    """A grey PNG of zeros, compressed as it is written: its file is a thousandth of its image."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, row = zlib.compressobj(6), bytes(1 + (width * bits + 7) // 8)
    block, data = row * max(1, (1 << 20) // len(row)), []
    for _ in range(height * len(row) // len(block)):
        data.append(packer.compress(block))
    data.append(packer.compress(row * (height % (len(block) // len(row)))))
    data.append(packer.flush())
    head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"".join(data)) + chunk(b"IEND", b"")


def zeros(size, format_bits):
    """So many zeros, compressed: 15 is zlib's format, 31 gzip's."""
    packer, block = zlib.compressobj(9, zlib.DEFLATED, format_bits), bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(size >> 20)) + packer.flush()


def as_png(image, folder):
    """The same image as a PNG, a quarter of its size."""
    (folder / "image.jpg").write_bytes(image)
    command = ["ffmpeg", "-v", "error", "-y", "-i", folder / "image.jpg", "-vf", "scale=iw/4:-1", folder / "image.png"]
    subprocess.run(command, check=True)
    return (folder / "image.png").read_bytes()


def scaled(image, folder, height):
    """The same image, so high."""
    (folder / "image.jpg").write_bytes(image)
    command = ["ffmpeg", "-v", "error", "-y", "-i", folder / "image.jpg", "-vf", f"scale=640:{height}", folder / "scaled.jpg"]
    subprocess.run(command, check=True)
    return (folder / "scaled.jpg").read_bytes()


class Hostile:
    """Makes requests, each with the statuses that may be answered."""

    def __init__(self, image, small_png):
        self.image, self.png = image, small_png
        self.huge = png(30_000, 30_000)
        self.large = png(7_900, 7_900)
        self.gzip_bomb, self.deflate_bomb = zeros(1 << 30, 31), zeros(1 << 28, 15)
        self.nested = gzip.compress(self.gzip_bomb)
        self.kinds = {
            "JPEG, cut short": (16, self.cut_jpeg),
            "PNG, cut short": (10, self.cut_png),
            "JPEG, damaged": (16, self.damaged_jpeg),
            "PNG, damaged": (10, self.damaged_png),
            "heads of other formats": (8, self.heads),
            "PNG of 30,000x30,000": (2, lambda _: (detect(self.huge, "image/png"), {413})),
            "JPEG of 65,500x65,500": (3, self.wide_jpeg),
            "JPEG of many scans": (2, self.scans),
            "PNG of 62 megapixels": (0.2, lambda _: (detect(self.large, "image/png"), {200, 503})),
            "compressed gigabyte": (1.5, self.bomb),
            "compression, wrong": (4, self.compression),
            "no image": (10, self.no_image),
            "parameters": (6, self.parameters),
            "JSON, malformed": (12, self.malformed),
            "form, malformed": (10, self.form),
            "form of many parts": (2, self.parts),
            "tensors, wrong": (16, self.tensors),
            "streams": (6, self.streams),
            "offers of WebRTC": (3, self.offers),
            "requests that are none": (10, self.none),
        }

    def plan(self, count, chance):
        """So many requests, every kind among them, in an order of chance; each is made when it is sent."""
        weights = [weight for weight, _ in self.kinds.values()]
        drawn = list(self.kinds) + chance.choices(list(self.kinds), weights, k=max(0, count - len(self.kinds)))
        head, rest = drawn[: len(self.kinds)], drawn[len(self.kinds) :]
        return [(kind, chance.randrange(1 << 62)) for kind in head + rest]

    def make(self, kind, seed):
        return self.kinds[kind][1](random.Random(seed))

    def cut_jpeg(self, chance):
        return detect(self.image[: chance.randrange(len(self.image))]), DAMAGED

    def cut_png(self, chance):
        return detect(self.png[: chance.randrange(len(self.png))], "image/png"), DAMAGED

    def damaged_jpeg(self, chance):
        return detect(self.damage(self.image, chance)), DAMAGED

    def damaged_png(self, chance):
        return detect(self.damage(self.png, chance), "image/png"), DAMAGED

    @staticmethod
    def damage(image, chance):
        image = bytearray(image)
        for _ in range(chance.choice((1, 3, 30, 300))):
            # Half of it where it says what it is.
            image[chance.randrange(min(600, len(image)) if chance.random() < 0.5 else len(image))] = chance.randrange(256)
        return bytes(image)

    @staticmethod
    def heads(chance):
        start = chance.choice(
            (b"\x89PNG\r\n\x1a\n", b"RIFF\xff\xff\xff\x7fWEBPVP8 ", b"RIFF\0\0\0\0WEBPVP8X", b"BM", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"\xff\xd8\xff\xe1", b"\xff\xd8\xff\xc0")
        )
        return detect(start + chance.randbytes(chance.randrange(400)), "application/octet-stream"), DAMAGED

    def wide_jpeg(self, chance):
        at = self.image.index(b"\xff\xc0")
        wide = self.image[: at + 5] + struct.pack(">HH", 65_500, chance.randrange(1_000, 65_500)) + self.image[at + 9 :]
        return detect(wide), {413}

    def scans(self, chance):
        at = self.image.index(b"\xff\xda")
        return detect(self.image[:at] + self.image[at : at + 40] * chance.randrange(101, 3_000)), {422}

    def bomb(self, chance):
        encoding, body = chance.choice((("gzip", self.gzip_bomb), ("deflate", self.deflate_bomb), ("gzip", self.nested)))
        return detect(body, "image/jpeg", f"Content-Encoding: {encoding}"), {413, 415}

    def compression(self, chance):
        encoding = chance.choice(("gzip", "deflate", "br", "zstd", "gzip, gzip", "\xff"))
        body = chance.choice((self.image[:999], gzip.compress(self.image)[:-9], b"\x1f\x8b\x08" + chance.randbytes(99), b""))
        # An empty body has no compression to undo.
        return detect(body, "image/jpeg", f"Content-Encoding: {encoding}"), {400, 415}

    @staticmethod
    def no_image(chance):
        kind = chance.choice(("text/html", "application/json", "video/mp4", "image/jpeg", "application/octet-stream", None, "?" * 99))
        start = chance.choice((b"GIF89a", b"%PDF-1.7", b"\x7fELF", b"\0\0\0\x18ftypmp42", b"\0\0\0\x18ftypheic", b"<svg>", b"PK\x03\x04", b"", b"\xff\xd8"))
        # A third byte of 0xff makes it a JPEG.
        return detect(start + chance.randbytes(chance.randrange(2_000)), kind), {415, 422} if start == b"\xff\xd8" else {415}

    def parameters(self, chance):
        wrong = "conf=nan conf=2 iou=-1 iou=1e999 classes=99 classes=,,, classes=%00 max_det=0 max_det=99999999999999999999 imgsz=0 imgsz=9999999 imgsz=64x tile=99x99 tile=1@9 tile=-1 nothing=1 conf=0.1&conf=0.2".split()
        return detect(self.image, query="?" + chance.choice((*wrong, "classes=" + "a," * 4_000))), {400, 422}

    @staticmethod
    def malformed(chance):
        text = json.dumps(tensor([1], "BYTES", "image", data=["AAAA"]))
        bodies = (
            text[: chance.randrange(len(text))],
            "[" * chance.randrange(1_000, 200_000),
            '{"inputs":' * 20_000,
            '{"inputs":[{"name":"images","shape":[1],"datatype":"FP32","data":[1e400]}]}',
            '{"inputs":[{"name":"images","shape":[1],"datatype":"FP32","data":[NaN]}]}',
            '{"inputs":[{"name":"images","shape":[1.5],"datatype":"FP32","data":[1]}]}',
            '{"inputs":[{"name":"images","shape":[-1],"datatype":"FP32","data":[1]}]}',
            '{"inputs":[{"name":"images","name":"image","shape":[1],"datatype":"FP32","data":[1]}]}',
            '{"inputs":{"a":1}}',
            "null",
            b'{"inputs":"\xff\xfe"}',
            chance.randbytes(3_000),
            '{"id":"' + "a" * 100_000,
        )
        return infer(chance.choice(bodies)), {400}

    def form(self, chance):
        part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n' + self.image + b"\r\n"
        kind, body = chance.choice(
            (
                ("multipart/form-data", part + b"--b--\r\n"),
                ("multipart/form-data; boundary=", part + b"--b--\r\n"),
                ("multipart/form-data; boundary=other", part + b"--b--\r\n"),
                ("multipart/form-data; boundary=" + "b" * 5_000, part + b"--b--\r\n"),
                ("multipart/form-data; boundary=b", part),
                ("multipart/form-data; boundary=b", part[: chance.randrange(len(part))]),
                ("multipart/form-data; boundary=b", part + part + b"--b--\r\n"),
                ("multipart/form-data; boundary=b", b"--b--\r\n"),
                ("multipart/form-data; boundary=b", b"--b\r\n" + b"A: " + b"a" * 200_000),
                ("multipart/form-data; boundary=b", b"--b\r\n" * 50_000),
                ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="conf"\r\n\r\n0.1\r\n--b--\r\n'),
                ("multipart/form-data; boundary=b", chance.randbytes(5_000)),
            )
        )
        return detect(body, kind), {400}

    @staticmethod
    def parts(chance):
        name = chance.choice(('name="f{}"', 'name="f"; filename="{}"'))
        part = '--b\r\nContent-Disposition: form-data; {}\r\n\r\na\r\n'
        body = "".join(part.format(name.format(n)) for n in range(chance.randrange(2_000, 20_000))) + "--b--\r\n"
        return detect(body.encode(), "multipart/form-data; boundary=b"), {400}

    def tensors(self, chance):
        size = 2**chance.randrange(3, 63)
        encoded = struct.pack("<I", chance.choice((0, 5, 1 << 31, (1 << 32) - 1))) + b"abc"
        made = (
            infer(tensor([1, 3, 640, 640], data=[0.5])),
            infer(tensor([size, 3, size, size], data=[])),
            infer(tensor([0, 3, 640, 640], data=[])),
            infer(tensor([1, 3, 0, 0], data=[])),
            infer(tensor([1, 3, 33, 65], data=[0] * (3 * 33 * 65))),
            infer(tensor([], data=[1])),
            infer(tensor([1] * 10_000, data=[1])),
            infer(tensor([1, 3, 32, 32], data=["a"] * 64)),
            infer(tensor([1, 3, 32, 32], "INT64", data=[0] * 3072)),
            infer(tensor([1, 3, 32, 32], name="other", data=[0] * 3072)),
            infer(tensor([1, 4, 32, 32], data=[0] * 4096)),
            infer({"inputs": tensor([1])["inputs"] * 500}),
            infer(tensor([1, 3, 32, 32], parameters={"binary_data_size": 12_288}), bytes(12_287)),
            infer(tensor([1, 3, 32, 32], parameters={"binary_data_size": 12_289}), bytes(12_289)),
            infer(tensor([1, 3, 32, 32], parameters={"binary_data_size": size}), bytes(16)),
            infer(tensor([1, 3, 32, 32], parameters={"binary_data_size": -1}), bytes(16)),
            infer(tensor([1], "BYTES", "image", parameters={"binary_data_size": 7}), encoded),
            infer(tensor([65], "BYTES", "image", data=["AAAA"] * 65)),
            infer(tensor([1], "BYTES", "image", data=["!!"])),
            infer(tensor([64], "BYTES", "image", data=[""] * 64)),
            infer(tensor([1 << 40], "BYTES", "image", data=["AAAA"])),
            request("POST", INFER, b"{}", f"Inference-Header-Content-Length: {chance.choice((3, size, -1, 'a', '9' * 40))}"),
        )
        return chance.choice(made), {400}

    @staticmethod
    def streams(chance):
        name = chance.choice(("a", "..", "%2e%2e%2fetc", "a" * 65, "%00", "-", "%ff"))
        options = chance.choice(
            (
                {},
                {"source": "file:///etc/passwd"},
                {"source": "/etc/passwd"},
                {"source": "http://169.254.169.254/latest"},
                {"source": "test:ball", "output": "/tmp/x.mp4"},
                {"source": "test:ball", "json": "/tmp/x"},
                {"source": "test:ball", "conf": 9},
                {"source": "a" * 10_000},
                {"source": ["test:ball"]},
                [],
                {"source": "test:ball", "zone": ["a=0,0"] * 1_000},
            )
        )
        return request("PUT", f"/v1/streams/{name}", json.dumps(options).encode()), {400, 403, 404, 422}

    @staticmethod
    def offers(chance):
        offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n" + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" * chance.randrange(500)
        body = chance.choice((offer.encode(), chance.randbytes(2_000), b"", b"v=0" * 40_000))
        name = chance.choice(("none", "ball"))
        return request("POST", f"/v1/streams/{name}/whep", body, "Content-Type: application/sdp"), {400, 404, 406, 413}

    def none(self, chance):
        made = (
            (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + chance.randbytes(200), {400, None}),
            (b"GET / HTTP/9.9\r\n\r\n", {400, 505}),
            (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", {414, 431}),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", {431}),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X%d: a\r\n" % n for n in range(400)) + b"\r\n", {431}),
            (b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", {400}),
            (b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n", {413}),
            (b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", {400}),
            (b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", {400}),
            (b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", {400}),
            (request("POST", "/healthz", b"a"), {405}),
            (request("BREW", "/v1/detect"), {405}),
            (request("GET", "/../../etc/passwd"), {404}),
            (request("GET", "/page/..%2f..%2fetc%2fpasswd"), {404}),
            (b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", {421}),
            (request("GET", "/healthz", b"", "Origin: http://evil.example"), {403}),
            (b"GET /healthz HTTP/1.1\r\n\r\n", {400, 421}),
        )
        return chance.choice(made)


def answered(port, sent, timeout=60):
    """The status of the answer; None where there is none."""
    try:
        connection = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    except OSError:
        # Nobody listens any more.
        return None
    with connection:
        try:
            connection.sendall(sent)
        except OSError:
            # It is answered before all of it was sent.
            pass
        received = b""
        try:
            while b"\r\n\r\n" not in received and (data := connection.recv(65_536)):
                received += data
        except OSError:
            # Closed meanwhile.
            pass
    # "HTTP/1.1 400 Bad Request"
    return int(received[9:12]) if received.startswith(b"HTTP/1.") else None


class Senders:
    """Sends what is planned, several at once, and counts what is answered."""

    def __init__(self, port, hostile, plan):
        self.port, self.hostile, self.work = port, hostile, queue.SimpleQueue()
        self.counts, self.wrong, self.lock = collections.defaultdict(collections.Counter), [], threading.Lock()
        for one in plan:
            self.work.put(one)
        # One at a time: an honest client is refused where the largest images are sent by several.
        self.large = threading.Lock()
        self.threads = [threading.Thread(target=self.send) for _ in range(SENDERS)]
        for thread in self.threads:
            thread.start()

    def send(self):
        while True:
            try:
                kind, seed = self.work.get_nowait()
            except queue.Empty:
                return
            sent, allowed = self.hostile.make(kind, seed)
            if "megapixels" in kind:
                with self.large:
                    status = answered(self.port, sent)
            else:
                status = answered(self.port, sent)
            with self.lock:
                self.counts[kind][status] += 1
                if status not in allowed:
                    self.wrong.append((kind, status, sent[:200]))

    def finish(self):
        for thread in self.threads:
            thread.join()


class Honest(threading.Thread):
    """Sends a real image again and again, by one connection, which is opened again where the server closed it between requests."""

    def __init__(self, port, image):
        super().__init__(daemon=True)
        self.sent = detect(image).replace(b"Connection: close\r\n", b"")
        self.port, self.times_s, self.statuses, self.reopened = port, [], collections.Counter(), 0
        self.stopping = threading.Event()
        self.start()

    def run(self):
        connection = None
        while not self.stopping.is_set():
            begin = time.monotonic()
            is_new = connection is None
            try:
                connection = connection or socket.create_connection(("127.0.0.1", self.port), timeout=60)
                status = self.exchange(connection)
            except OSError:
                status = None
            if status is None and not is_new:
                # As every client of HTTP does: a connection that was kept may have been closed before the request came.
                self.reopened += 1
            else:
                self.statuses[status] += 1
                self.times_s.append(time.monotonic() - begin)
            if status is None:
                if connection is None:
                    # Nobody listens any more.
                    return
                connection.close()
                connection = None
        if connection:
            connection.close()

    def exchange(self, connection):
        connection.sendall(self.sent)
        received = b""
        while True:
            data = connection.recv(65_536)
            if not data:
                return None
            received += data
            head, found, body = received.partition(b"\r\n\r\n")
            if found:
                length = int(head.lower().partition(b"content-length:")[2].split()[0])
                if len(body) >= length:
                    return int(head[9:12])


class Slow(threading.Thread):
    """Several dozen clients that send a byte a second: half of them heads, half of them bodies. Who is let go of comes again."""

    def __init__(self, port, image):
        super().__init__(daemon=True)
        head = b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n" % len(image)
        self.kinds = (head + b"X: " + b"a" * 9_000, head + b"\r\n" + image)
        self.port, self.open, self.longest_s, self.let_go = port, [], 0.0, 0
        self.stopping = threading.Event()
        self.start()

    def run(self):
        number = 0
        while not self.stopping.wait(1.0):
            while len(self.open) < SLOW:
                try:
                    connection = socket.create_connection(("127.0.0.1", self.port), timeout=5)
                    sent = self.kinds[number % 2]
                    # A body's head comes at once.
                    at = sent.find(b"\r\n\r\n") + 4 if number % 2 else 0
                    connection.sendall(sent[:at])
                except OSError:
                    break
                connection.setblocking(False)
                self.open.append([connection, sent, at, time.monotonic()])
                number += 1
            for one in list(self.open):
                connection, sent, at, began = one
                try:
                    connection.send(sent[at : at + 1])
                    one[2] += 1
                    ended = connection.recv(4_096) is not None
                except BlockingIOError:
                    ended = False
                except OSError:
                    ended = True
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                if ended:
                    connection.close()
                    self.open.remove(one)
                    self.let_go += 1
        for connection, *_ in self.open:
            connection.close()


def unread(port):
    """Connections that ask for much and read nothing of it."""
    connections = []
    for _ in range(UNREAD):
        connection = socket.create_connection(("127.0.0.1", port), timeout=5)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.setblocking(False)
        try:
            while True:
                connection.send(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
        except OSError:
            # It takes no more: nobody reads.
            pass
        connections.append(connection)
    return connections


def idle(port):
    connections = []
    for _ in range(IDLE):
        try:
            connections.append(socket.create_connection(("127.0.0.1", port), timeout=5))
        except OSError:
            break
    return connections


class Watched(threading.Thread):
    """The most memory, descriptors and threads."""

    def __init__(self, served):
        super().__init__(daemon=True)
        self.served, self.stopping, self.most = served, threading.Event(), [0.0, 0, 0]
        self.start()

    def run(self):
        while not self.stopping.wait(0.1):
            try:
                now = (self.served.memory_mib(), self.served.descriptors(), self.served.threads())
            except (OSError, TypeError):
                # It has ended: what is left of it has no memory.
                return
            self.most = [max(pair) for pair in zip(self.most, now)]


def settled(served):
    """What it has once connections are closed, idle threads have ended (10 s), and what was freed is the system's again (a minute)."""
    time.sleep(65)
    return served.memory_mib(), served.descriptors(), served.threads()


def get(port, path, image=None):
    sent = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=image, headers={"Content-Type": "image/jpeg"} if image else {})
    try:
        with urllib.request.urlopen(sent, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return error


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bodies", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--image", type=pathlib.Path, help="a JPEG [default: a frame of the clip]")
    parser.add_argument("--streamdet", type=pathlib.Path, default=PROGRAM)
    args = parser.parse_args()
    if not args.streamdet.exists():
        parser.error(f"{args.streamdet} is not there; build it with `make build`")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        image = args.image.read_bytes() if args.image else frame(folder)
        hostile = Hostile(image, as_png(image, folder))
        sizes = [scaled(image, folder, 128 + 24 * number) for number in range(SIZES)]
    # The program is stopped as well where this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    served = Served(args.streamdet, "--stream", "ball=test:ball")
    try:
        rows, wrong = run(served, hostile, (image, sizes), args)
    finally:
        code = served.stop()
    rows.append(("SIGTERM", f"exit code {code}", code == 0))
    for label, value, holds in rows:
        print(f"{label:<28} {value}{'' if holds else '   <-- wrong'}")
    for kind, status, sent in wrong[:20]:
        print(f"  {kind}: {status} for {sent!r}")
    sys.exit(0 if all(holds for *_, holds in rows) else 1)


def run(served, hostile, images, args):
    image, sizes = images
    plan = hostile.plan(args.bodies, random.Random(args.seed))
    watched = Watched(served)
    # Sessions, decoders and threads are there after some of everything, and after more sizes than sessions are kept for.
    for body in sizes:
        for _ in range(AGAIN):
            get(served.port, "/v1/detect", body)
    warm = args.bodies // 2
    counts = collections.defaultdict(collections.Counter)
    wrong, began = [], time.monotonic()

    def send(part, honest):
        senders = Senders(served.port, hostile, part)
        senders.finish()
        for kind, statuses in senders.counts.items():
            counts[kind].update(statuses)
        wrong.extend(senders.wrong)

    def half(part):
        """The same in both halves: what comes to stay with so many connections is there after the first."""
        honest, slow = Honest(served.port, image), Slow(served.port, image)
        send(part[: len(part) // 2], honest)
        connections = unread(served.port) + idle(served.port)
        opened = len(connections)
        send(part[len(part) // 2 :], honest)
        health = get(served.port, "/healthz")
        for one in (slow, honest):
            one.stopping.set()
            one.join()
        for connection in connections:
            connection.close()
        if not served.is_running():
            sys.exit(f"the program ended with {served.process.poll()}\n{''.join(served.said[-20:])}")
        return settled(served), honest, slow, opened, health

    before, *_ = half(plan[:warm])
    after, honest, slow, opened, health = half(plan[warm:])
    watched.stopping.set()
    took = time.monotonic() - began
    rows = [(kind, ", ".join(f"{status or 'no answer'}: {n}" for status, n in sorted(found.items(), key=str)), not any(of == kind for of, *_ in wrong)) for kind, found in counts.items()]
    times = honest.times_s
    ms = [f"{quantile(times, q) * 1000:.0f}" for q in (0.5, 0.99, 1)]
    rows += [
        ("hostile requests", f"{sum(sum(found.values()) for found in counts.values())} in {took:.0f} s, {len(wrong)} answered wrongly", not wrong),
        ("honest requests", f"{len(times)}, {dict(honest.statuses)}, p50 {ms[0]} ms, p99 {ms[1]} ms, most {ms[2]} ms; {honest.reopened} reconnects", set(honest.statuses) == {200}),
        ("slow senders", f"{slow.let_go} let go of, after {slow.longest_s:.0f} s at most ({SLOW} at once)", slow.let_go > 0 and slow.longest_s < HEARD),
        ("idle, unread", f"{opened} connections opened", opened == IDLE + UNREAD),
        ("/healthz", str(health), health == 200),
        ("memory", f"{before[0]:.0f} MiB after {warm}, {after[0]:.0f} MiB at the end, {watched.most[0]:.0f} MiB at most", after[0] <= before[0] * MOST_GROWTH),
        ("descriptors", f"{before[1]}, {after[1]} at the end, {watched.most[1]} at most", after[1] <= before[1]),
        ("threads", f"{before[2]}, {after[2]} at the end, {watched.most[2]} at most", after[2] <= before[2]),
        ("what it said", f"{len(served.said)} lines, {sum('panicked' in line for line in served.said)} panics", not any("panicked" in line for line in served.said)),
    ]
    return rows, wrong


if __name__ == "__main__":
    main()
