#!/usr/bin/env python3
"""Four live streams into one batched detector: what they get together, against what one recorded clip gets alone.

A 720p H.264 clip is encoded beforehand. Alone, it is read as fast as it can be; four times, it comes by RTSP at 30 frames a
second each from a second program on this machine, which has its share of the processors. Both take turns, round by round;
nothing is saved. Together they are offered more than any model here can take, so frames are lost, and every one is counted.

    benches/streams.py                                  # the built-in model at 384x640, batches of up to 4
    benches/streams.py --rounds 5 --imgsz 416 --batch 8

Needs target/live555/live555-server, which `make setup-test target/live555/live555-server` builds.
"""

import argparse
import json
import statistics
import subprocess
import sys

from rtsp_feed import PROGRAM, ROOT, missing, serving

FOLDER = ROOT / "target" / "bench" / "streams"
STREAMS = 4
# Of what one stream gets alone; and of a fair share.
LEAST_TOGETHER, LEAST_SHARE = 0.85, 0.80


def main():
    options = arguments()
    if problem := missing():
        sys.exit(problem)
    FOLDER.mkdir(parents=True, exist_ok=True)
    clip = made_clip(options.seconds)
    ratios, shares = [], []
    with serving(FOLDER) as address:
        urls = [f"{address}/{clip.name}"] * STREAMS
        for number in range(options.rounds):
            alone = run([str(clip)], options, live=False)
            together = run(urls, options, live=True)
            ratio = together["fps"]["mean"] / alone["fps"]["mean"]
            processed = [stream["frames"]["processed"] for stream in together["streams"]]
            share = min(processed) * len(processed) / sum(processed)
            ratios.append(ratio)
            shares.append(share)
            dropped = sum(sum(stream["frames"]["dropped"].values()) for stream in together["streams"])
            print(
                f"  round {number + 1}: alone {alone['fps']['mean']:6.1f} fps, {STREAMS} together "
                f"{together['fps']['mean']:6.1f} fps ({ratio:.2f}), frames {processed}, {dropped} dropped, "
                f"least share {share:.2f}, batches {json.dumps(together['batches'])}",
                flush=True,
            )
    ratio, share = statistics.median(ratios), min(shares)
    good = ratio >= LEAST_TOGETHER and share >= LEAST_SHARE
    print(
        f"\n  together {ratio:.2f} of one alone (median of {options.rounds}; {min(ratios):.2f} to {max(ratios):.2f}; "
        f"goal {LEAST_TOGETHER}), least of a fair share {share:.2f} (goal {LEAST_SHARE}): {'good' if good else 'NOT good'}"
    )
    sys.exit(0 if good else 1)


def made_clip(seconds):
    clip = FOLDER / f"feed-{seconds}s.mkv"
    if not clip.exists():
        for old in FOLDER.glob("*.mkv"):
            old.unlink()
        subprocess.run(
            ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc2=size=1280x720:rate=30:duration={seconds}"]
            + ["-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", "30", "-pix_fmt", "yuv420p", clip],
            check=True,
        )
    return clip


def run(sources, options, live):
    report = FOLDER / "report.json"
    # As many frames a source as come in the time that the live ones are watched.
    frames = options.seconds * 30 - 60
    command = [PROGRAM, "bench", *sources, "--imgsz", options.imgsz, "--batch", str(options.batch)]
    command += ["--frames", str(frames), "--report", report, "--overwrite", "-q"]
    if live:
        command += ["--rtsp-transport", "tcp"]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return json.loads(report.read_text())


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=20, help="length of the feed")
    parser.add_argument("--imgsz", default="640")
    parser.add_argument("--batch", type=int, default=STREAMS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
