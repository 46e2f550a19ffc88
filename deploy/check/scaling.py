"""Whether KEDA sees what it scales by, and whether pods of a fleet hand over: what the manifests' triggers ask for is asked of a real nats-server
and of a real Prometheus, while the program runs as the manifests say, but for what a cluster has.

    scaling.py STREAMDET

Run by a Python that manifests.py is run by.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.parse

from dashboard import fail, free_port, get, programs, until
from manifests import built, only

TOKEN = "for-this-check-only"
FILES = 3
# Of a test pattern each, slow ones: what is looked at is who runs them.
STREAMS = {f"cam{number}": "test:ball" for number in range(4)}
QUICK = {"STREAMDET_IMGSZ": "96", "STREAMDET_STRIDE": "30", "STREAMDET_THREADS": "1", "STREAMDET_PROVIDER": "cpu"}


def lag(trigger, monitoring):
    """What KEDA's scaler `nats-jetstream` makes of the server's answer: files that wait, and those that are worked on."""
    asked = f"http://127.0.0.1:{monitoring}/jsz?acc={urllib.parse.quote(trigger['account'])}&consumers=true&config=true"
    for account in json.loads(get(asked)).get("account_details", ()):
        for stream in account.get("stream_detail", ()):
            for consumer in stream.get("consumer_detail", ()):
                if (account["name"], stream["name"], consumer["name"]) == (trigger["account"], trigger["stream"], trigger["consumer"]):
                    return consumer["num_pending"] + consumer["num_ack_pending"]
    return None


def queue(program, scaled, scratch, server, monitoring):
    trigger = scaled["spec"]["triggers"][0]["metadata"]
    if lag(trigger, monitoring) is not None:
        fail("there is a queue before anything was added")
    queue = f"{server}/archive"
    for number in range(FILES):
        source = f"testsrc2=size=96x64:rate=10:duration=1,hue=h={number * 40}"
        subprocess.run(["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264", "-pix_fmt", "yuv420p", scratch / f"{number}.mp4"], check=True)
    subprocess.run([program, "work", "add", queue, *scratch.glob("*.mp4")], check=True, stderr=subprocess.DEVNULL)
    if (found := lag(trigger, monitoring)) != FILES:
        fail(f"{FILES} files wait, and KEDA sees {found}: {trigger}")
    out = scratch / "annotated"
    container = scaled["spec"]["jobTargetRef"]["template"]["spec"]["containers"][0]
    args = [arg.replace("/annotated/", f"{out}/") for arg in container["args"]]
    worker = subprocess.run([program, *args], env=os.environ | QUICK | {"STREAMDET_QUEUE": queue}, capture_output=True, text=True)
    written = sum(1 for path in out.rglob("*") if path.is_file())
    # The annotated video, and its detections.
    if worker.returncode != 0 or written != 2 * FILES:
        fail(f"a job's pod ended with {worker.returncode}, and wrote {written} files: {worker.stderr}")
    if (found := lag(trigger, monitoring)) != 0:
        fail(f"no file waits, and KEDA sees {found}")


def fleet(program, resources, scratch, server, start):
    deployment = only(resources, "Deployment")["spec"]["template"]["spec"]
    container = deployment["containers"][0]
    config = only(resources, "ConfigMap")["data"]["config.toml"]
    (scratch / "config.toml").write_text(config)
    args = [arg.replace("/etc/streamdet", str(scratch)) for arg in container["args"]]
    own = {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}
    pods = {}
    for name in ("pod-a", "pod-b"):
        port = free_port()
        (scratch / name).mkdir()
        # As the pod's fields, the image and the secret say.
        env = own | QUICK | {"STREAMDET_INSTANCE": name, "STREAMDET_LISTEN": f"127.0.0.1:{port}", "STREAMDET_FLEET": server, "STREAMDET_TOKEN": TOKEN}
        log = (scratch / f"{name}.log").open("w")
        pods[name] = (start(program, *args, env=os.environ | env, cwd=scratch / name, stderr=log), f"http://127.0.0.1:{port}")
    ready = container["readinessProbe"]["httpGet"]["path"]
    for name, (_, url) in pods.items():
        until(f"{name} is ready", lambda: get(f"{url}{ready}"))

    def streams(url):
        return json.loads(get(f"{url}/v1/streams", TOKEN))["streams"]

    added = [f"{name}={source}" for name, source in STREAMS.items()]
    subprocess.run([program, "fleet", "add", server, *added], check=True, stderr=subprocess.DEVNULL)
    until("both pods have streams", lambda: all(len(streams(url)) == 2 for _, url in pods.values()))

    trigger = only(resources, "ScaledObject")["spec"]["triggers"][0]["metadata"]
    monitor = only(resources, "ServiceMonitor")["spec"]["endpoints"][0]
    at = free_port()
    (scratch / "token").write_text(TOKEN)
    scrape = {
        # The operator calls the job as the service is called.
        "job_name": only(resources, "Service")["metadata"]["name"], "metrics_path": monitor["path"], "scrape_interval": "1s",
        "authorization": {"credentials_file": str(scratch / "token")},
        "static_configs": [{"targets": [url.removeprefix("http://") for _, url in pods.values()]}],
    }
    (scratch / "prometheus.json").write_text(json.dumps({"scrape_configs": [scrape]}))
    start("prometheus", f"--config.file={scratch}/prometheus.json", f"--storage.tsdb.path={scratch}/data", f"--web.listen-address=127.0.0.1:{at}",
          stderr=subprocess.DEVNULL)

    def metric():
        found = json.loads(get(f"http://127.0.0.1:{at}/api/v1/query?query={urllib.parse.quote(trigger['query'])}"))["data"]["result"]
        return [sample["value"][1] for sample in found] == [str(len(STREAMS))]

    until(f"KEDA sees {len(STREAMS)} streams", metric, 30)

    # What the kubelet does to a pod of a rollout.
    stopped, remaining = pods["pod-a"][0], pods["pod-b"][1]
    begun = time.monotonic()
    stopped.terminate()
    code = stopped.wait(timeout=deployment["terminationGracePeriodSeconds"])
    ended = time.monotonic() - begun
    if code != 0:
        fail(f"a pod that is told to stop ends with {code}: {(scratch / 'pod-a.log').read_text()}")
    until("the other pod has frames of all streams", lambda: sum(stream["frames"]["processed"] > 0 for stream in streams(remaining)) == len(STREAMS))
    taken = (scratch / "pod-b.log").read_text()
    if "which is gone" in taken:
        fail(f"streams were taken, and not handed over: {taken}")
    print(f"scaling: a pod ended after {ended:.1f} s, {time.monotonic() - begun:.1f} s after its end began all streams have frames elsewhere", file=sys.stderr)


def main():
    program = pathlib.Path(sys.argv[1]).resolve(strict=True)
    with tempfile.TemporaryDirectory() as scratch, programs() as (start, _):
        scratch = pathlib.Path(scratch)
        resources = built(scratch)
        port, monitoring = free_port(), free_port()
        start("nats-server", "-a", "127.0.0.1", "-p", port, "-m", monitoring, "-js", "-sd", scratch / "nats", stderr=subprocess.DEVNULL)
        until("nats-server is there", lambda: get(f"http://127.0.0.1:{monitoring}/healthz"))
        queue(program, only(resources["queue"], "ScaledJob"), scratch, f"nats://127.0.0.1:{port}", monitoring)
        fleet(program, resources["overlays/fleet-scaled"], scratch, f"nats://127.0.0.1:{port}", start)


if __name__ == "__main__":
    main()
