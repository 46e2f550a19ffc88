"""What `schemathesis` cannot make by itself for streamdet: images and an offer of WebRTC; schemathesis.toml names this file."""

import struct
import zlib

import schemathesis
from hypothesis import strategies

# As a browser's, in short: the least that is a whole offer of H.264 (RFC 8866, RFC 8829).
OFFER = "\r\n".join(
    (
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "m=video 9 UDP/TLS/RTP/SAVPF 96",
        "c=IN IP4 0.0.0.0",
        "a=mid:0",
        "a=recvonly",
        "a=rtcp-mux",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:abcdefghijklmnopqrstuvwx",
        "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
        "a=setup:actpass",
        "a=rtpmap:96 H264/90000",
        "a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        "",
    )
)
STARTS = {"image/jpeg": b"\xff\xd8\xff", "image/png": b"\x89PNG\r\n\x1a\n"}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@strategies.composite
def png(draw):
    """A PNG of any small size, of noise or of one colour."""
    width, height = draw(strategies.integers(1, 64)), draw(strategies.integers(1, 64))
    row = draw(strategies.binary(min_size=3, max_size=3)) * width
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + row) * height)
    return STARTS["image/png"] + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


schemathesis.openapi.media_type("image/*", png(), aliases=["application/octet-stream"])
schemathesis.openapi.media_type("application/sdp", strategies.just(OFFER.encode()))


@schemathesis.deserializer(*STARTS)
def image(_context, response):
    """Holds answers to what their type says."""
    kind = response.headers["content-type"][0]
    if not response.content.startswith(STARTS[kind]):
        raise ValueError(f"this is no {kind}: {response.content[:16]!r}")
    return "an image"
