"""A camera with a clock in its frames: the wall time in milliseconds as black and white blocks, sent by RTSP.

A frame has the time at which it was made, before it was encoded: what is between that and the moment of its display is glass to glass,
but for a lens. The blocks have a checksum, so that one that is covered by a box or half decoded is noticed.
"""

import contextlib
import socket
import subprocess
import threading
import time

# Blocks: as wide as high, in two rows, from the upper left one; as `glass/clock.js` reads them.
BLOCK, COLUMNS, ROWS, LEFT, TOP = 16, 20, 2, 160, 96
WIDTH, HEIGHT = 640, 360
# Luma of limited range.
BLACK, WHITE = bytes([16]) * BLOCK, bytes([235]) * BLOCK


class ClockCamera:
    """An RTSP server (RTP in the connection) with one stream; it encodes while it runs."""

    def __init__(self, rate, size=(WIDTH, HEIGHT)):
        self.rate, self.size = rate, size
        self.clients, self.lock, self.over = [], threading.Lock(), threading.Event()
        self.media = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        self._bind()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"rtsp://127.0.0.1:{self.listener.getsockname()[1]}/clock"

    def _bind(self):
        # RTP has an even port, RTCP the next.
        while True:
            with contextlib.suppress(OSError):
                self.media[0].bind(("127.0.0.1", 0))
                port = self.media[0].getsockname()[1]
                if port % 2 == 0:
                    self.media[1].bind(("127.0.0.1", port + 1))
                    self.port = port
                    return
            self.media[0].close()
            self.media[0] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def __enter__(self):
        width, height = self.size
        backgrounds = self._backgrounds()
        command = ["ffmpeg", "-v", "error", "-fflags", "nobuffer", "-probesize", "32", "-f", "rawvideo"]
        command += ["-pix_fmt", "yuv420p", "-video_size", f"{width}x{height}", "-framerate", str(self.rate), "-i", "-"]
        command += ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-threads", "1", "-g", str(self.rate)]
        command += ["-f", "rtp", f"rtp://127.0.0.1:{self.port}?pkt_size=1300"]
        self.encoder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, bufsize=0)
        self.filming = self._thread(self._film, backgrounds)
        for channel, media in zip((0, 1), self.media):
            self._thread(self._relay, channel, media)
        self._thread(self._accept)
        return self

    def __exit__(self, *_):
        self.over.set()
        self.filming.join()
        self.encoder.wait()
        self.listener.close()

    def _thread(self, body, *arguments):
        thread = threading.Thread(target=body, args=arguments, daemon=True)
        thread.start()
        return thread

    def _backgrounds(self):
        """A second of ffmpeg's moving test picture, without colour where the clock is."""
        width, height = self.size
        source = f"testsrc2=size={width}x{height}:rate={self.rate}:duration=1"
        command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]
        raw = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        length = width * height * 3 // 2
        frames = [bytearray(raw[at:at + length]) for at in range(0, len(raw), length)]
        grey = bytes([128]) * (COLUMNS * BLOCK // 2)
        for frame in frames:
            for plane in (width * height, width * height * 5 // 4):
                for row in range(TOP // 2, (TOP + ROWS * BLOCK) // 2):
                    at = plane + row * (width // 2) + LEFT // 2
                    frame[at:at + len(grey)] = grey
        return frames

    def _film(self, backgrounds):
        width = self.size[0]
        start, number = time.monotonic(), 0
        with contextlib.suppress(BrokenPipeError):
            while not self.over.is_set():
                frame = backgrounds[number % len(backgrounds)]
                bits = clock_bits(int(time.time() * 1000))
                for row in range(ROWS):
                    line = b"".join(WHITE if bit else BLACK for bit in bits[row * COLUMNS:(row + 1) * COLUMNS])
                    for y in range(TOP + row * BLOCK, TOP + (row + 1) * BLOCK):
                        frame[y * width + LEFT:y * width + LEFT + len(line)] = line
                view = memoryview(frame)
                while view:
                    view = view[self.encoder.stdin.write(view):]
                number += 1
                # By the clock: a slow frame does not lower the rate.
                self.over.wait(max(0.0, start + number / self.rate - time.monotonic()))
        self.encoder.stdin.close()

    def _relay(self, channel, media):
        while True:
            packet = media.recv(1 << 16)
            head = b"$" + bytes([channel]) + len(packet).to_bytes(2, "big")
            with self.lock:
                for client in list(self.clients):
                    try:
                        client.sendall(head + packet)
                    except OSError:
                        self.clients.remove(client)

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError), client, client.makefile("rb") as requests:
            while first := requests.read(1):
                if first == b"$":
                    # What a client says by RTCP.
                    requests.read(int.from_bytes(requests.read(3)[1:], "big"))
                    continue
                method = (first + requests.readline()).split(b" ")[0].decode()
                fields = {}
                while (field := requests.readline().strip()):
                    name, _, value = field.decode().partition(":")
                    fields[name.strip().lower()] = value.strip()
                status, answer, body = self._answer(method, fields)
                lines = [f"RTSP/1.0 {status}", f"CSeq: {fields.get('cseq', '0')}", *answer, f"Content-Length: {len(body)}"]
                with self.lock:
                    client.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
                    if method == "PLAY":
                        self.clients.append(client)
                if method == "TEARDOWN":
                    break
        with self.lock:
            if client in self.clients:
                self.clients.remove(client)

    def _answer(self, method, fields):
        if method == "DESCRIBE":
            lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=clock", "c=IN IP4 127.0.0.1", "t=0 0", "m=video 0 RTP/AVP 96"]
            lines += ["a=rtpmap:96 H264/90000", "a=fmtp:96 packetization-mode=1", "a=control:video"]
            base = [f"Content-Base: {self.address}/", "Content-Type: application/sdp"]
            return "200 OK", base, "\r\n".join(lines) + "\r\n"
        if method == "SETUP":
            if "TCP" not in fields.get("transport", ""):
                return "461 Unsupported Transport", [], ""
            return "200 OK", ["Session: 1;timeout=60", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"], ""
        if method == "OPTIONS":
            return "200 OK", ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"], ""
        return "200 OK", ["Session: 1;timeout=60"], ""


def clock_bits(milliseconds):
    """32 bits of the time and 8 of a checksum, lowest first."""
    value = milliseconds & 0xFFFFFFFF
    check = (sum(value.to_bytes(4, "big")) * 7 + 0x5A) & 0xFF
    return [(value | check << 32) >> bit & 1 for bit in range(40)]
