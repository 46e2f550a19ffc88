"""Whether the image works as it is deployed: as its own user without capabilities, PID 1, its root read-only.

    contained.py ROOT DATA      DATA: a folder of the image's user with clip.mp4 (75 frames)
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import image
import yaml

COMPOSE = pathlib.Path(__file__).resolve().parent.parent / "compose.yaml"
# compose.yaml: stop_grace_period.
GRACE_S = 45
CLIP = ["detect", "clip.mp4", "--overwrite", "-o", "annotated.mp4", "--report", "report.json"]


def fail(message):
    sys.exit(f"contained: error: {message}")


def detect(what, line, data):
    """Runs CLIP, and looks at what it wrote."""
    begun = time.monotonic()
    ran = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if ran.returncode != 0:
        fail(f"{what}: exit code {ran.returncode}: {ran.stderr}")
    for word in ("warning", "notice", "GStreamer-", "Read-only", "ermission"):
        for said in ran.stderr.splitlines():
            if word in said:
                print(f"contained: {what}: it says: {said}", file=sys.stderr)
    report = json.loads((data / "report.json").read_text())
    if report["streams"][0]["frames"]["processed"] != 75:
        fail(f"{what}: {report['streams'][0]['frames']}")
    subprocess.run(["ffprobe", "-v", "error", "-of", "json", str(data / "annotated.mp4")], check=True, stdout=subprocess.DEVNULL)
    provider = report["provider"]
    print(f"contained: {what}: {provider['actual']} ({provider['detail']}), {time.monotonic() - begun:.1f} s", file=sys.stderr)
    return (data / "annotated.mp4").stat().st_uid


def as_user(line, uid):
    return [f"--reuid={uid}" if word.startswith("--reuid=") else f"--regid={uid}" if word.startswith("--regid=") else word for word in line]


def main():
    root, data = (pathlib.Path(argument).resolve(strict=True) for argument in sys.argv[1:])
    binds = [(data, "/data")]
    line = image.command_line(root, binds, CLIP)
    uid = int(json.loads(pathlib.Path(f"{root}.json").read_text())["user"].split(":")[0])
    if uid == 0 or detect("detect", line, data) != uid:
        fail("it is not the image's user that writes")

    # An engine that was given no place for the cache.
    at = line.index("/var/cache/streamdet") - 3
    detect("detect, its cache read-only", line[:at] + line[at + 4:], data)

    # OpenShift, and `docker run --user`: a user that /etc/passwd does not know.
    for file in data.iterdir():
        if file.name != "clip.mp4":
            file.unlink()
    os.chown(data, 4711, 4711)
    if detect("detect as another user", as_user(line, 4711), data) != 4711:
        fail("it is not the user that was asked for who writes")
    os.chown(data, uid, uid)

    refused = subprocess.run(image.command_line(root, binds), capture_output=True, text=True)
    if refused.returncode != 2 or "token" not in refused.stderr:
        fail(f"a server without a token: exit code {refused.returncode}: {refused.stderr}")
    serve(root, binds, data)


def serve(root, binds, data):
    (data / "config.toml").write_text('[[stream]]\nname = "ball"\nsource = "test:ball"\noutput = ["recorded.mkv"]\n')
    env = {"STREAMDET_TOKEN": "for-this-check-only", "STREAMDET_CONFIG": "/data/config.toml"}
    sandbox = subprocess.Popen(image.command_line(root, binds, None, env), stderr=subprocess.PIPE, text=True)
    # Its first line says where it listens.
    print(f"contained: serve: {sandbox.stderr.readline().strip()}", file=sys.stderr)
    children = pathlib.Path(f"/proc/{sandbox.pid}/task/{sandbox.pid}/children")
    inside = int(children.read_text().split()[0])
    if "streamdet" not in pathlib.Path(f"/proc/{inside}/comm").read_text():
        fail("PID 1 is not streamdet")
    status = pathlib.Path(f"/proc/{inside}/status").read_text()
    for wanted in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"):
        if wanted not in status:
            fail(f"no {wanted} in its status")

    test = yaml.safe_load(COMPOSE.read_text())["services"]["streamdet"]["healthcheck"]["test"]
    probe = [word.replace("$$", "$") for word in test[1:]]
    ready = [word.replace("/healthz", "/readyz") for word in probe]

    def until(what, command, seconds=30):
        deadline = time.monotonic() + seconds
        while subprocess.run(["nsenter", "--net", "--target", str(inside), *command], stderr=subprocess.DEVNULL).returncode != 0:
            if sandbox.poll() is not None or time.monotonic() > deadline:
                fail(f"serve: {what}: not within {seconds} s: {sandbox.poll()}")
            time.sleep(0.2)

    until("ready", ready)
    until("healthy, as compose.yaml asks", probe)
    nowhere = [word.replace("/healthz", "/nowhere") for word in probe]
    if subprocess.run(["nsenter", "--net", "--target", str(inside), *nowhere]).returncode == 0:
        fail("compose.yaml's health check is content with any answer")
    os.kill(inside, signal.SIGHUP)
    until("healthy after SIGHUP", probe)
    begun = time.monotonic()
    os.kill(inside, signal.SIGTERM)
    _, said = sandbox.communicate(timeout=GRACE_S)
    if sandbox.returncode != 0:
        fail(f"SIGTERM: exit code {sandbox.returncode}: {said}")
    if (data / "recorded.mkv.part").exists() or (data / "recorded.mkv").stat().st_size == 0:
        fail("the recording was not finished")
    print(f"contained: SIGTERM to PID 1: exit code 0, the recording finished, {time.monotonic() - begun:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
