"""A second program that sends clips by RTSP, live555's server, for the benches that watch live streams."""

import contextlib
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target" / "release" / "streamdet"
SERVER = ROOT / "target" / "live555" / "live555-server"


def missing():
    """What there is to be done before anything can be sent; nothing, where all is there."""
    absent = [str(needed) for needed in (PROGRAM, SERVER) if not needed.exists()]
    return f"no {', no '.join(absent)}: make build setup-test {SERVER.relative_to(ROOT)}" if absent else None


@contextlib.contextmanager
def serving(folder):
    """Sends the files of `folder` while it lasts; the address that their names are put behind."""
    server = subprocess.Popen([SERVER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield f"rtsp://127.0.0.1:{server.stdout.readline().split()[-1]}"
    finally:
        # It ends with its input.
        server.stdin.close()
        server.wait(timeout=10)
