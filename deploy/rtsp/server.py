#!/usr/bin/python3
"""An RTSP server to try streamdet with: a folder of JPEG frames, or GStreamer's test pattern, as H.264 without an end.

    server.py [--listen ADDRESS] [--port 8554] [--name street] [--frames FOLDER]
"""

import argparse
import pathlib
import signal

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 # after the versions are chosen


def source(folder):
    if folder is None:
        return "videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=480,framerate=25/1"
    first = sorted(pathlib.Path(folder).glob("*.jpg"))[0]
    pattern = first.with_name(f"%0{len(first.stem)}d.jpg")
    start = int(first.stem)
    caps = "image/jpeg,framerate=10/1"
    # Time goes on from the last frame to the first one.
    return f'multifilesrc location="{pattern}" start-index={start} loop=true caps="{caps}" ! jpegdec'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", default="127.0.0.1", metavar="ADDRESS")
    parser.add_argument("--port", default="8554", help="0: a free one")
    parser.add_argument("--name", default="street")
    parser.add_argument("--frames", metavar="FOLDER", help="of JPEG files with numbers as names")
    args = parser.parse_args()

    Gst.init(None)
    server = GstRtspServer.RTSPServer(address=args.listen, service=args.port)
    media = GstRtspServer.RTSPMediaFactory()
    media.set_launch(
        f"( {source(args.frames)} ! videoconvert ! video/x-raw,format=I420 ! x264enc tune=zerolatency speed-preset=veryfast key-int-max=25 "
        "! rtph264pay name=pay0 pt=96 config-interval=1 )"
    )
    media.set_shared(True)
    server.get_mount_points().add_factory(f"/{args.name}", media)
    if server.attach(None) == 0:
        raise SystemExit(f"{args.listen}:{args.port} cannot be listened on")
    print(f"rtsp://{args.listen}:{server.get_bound_port()}/{args.name}", flush=True)
    loop = GLib.MainLoop()
    for number in (signal.SIGINT, signal.SIGTERM):
        GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, number, loop.quit)
    loop.run()


if __name__ == "__main__":
    main()
