"""Whether the dashboard and the alert rules show what there is: every query of theirs is asked of a real Prometheus, which scrapes
a real `streamdet serve`, which watches the RTSP test server.

    dashboard.py STREAMDET
"""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

DEPLOY = pathlib.Path(__file__).resolve().parent.parent
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "streamdet.json"
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
TOKEN = "for-this-check-only"
# Nothing crosses a line, and nobody leaves a zone, in so short a time: these may have no data, if their metrics exist.
MAY_BE_EMPTY = {"Line crossings", "Time in zones, mean of a visit", "Alerts"}
# Names of metrics in this program's answer begin so, but for this one, whose name is common to all programs.
OWN = re.compile(r"\b(?:streamdet_[a-z_]+|process_cpu_seconds_total)\b")
# What Grafana puts in place of its variables.
VARIABLES = {"$__rate_interval": "10s", "$instance": ".*", "$stream": ".*"}


def fail(message):
    sys.exit(f"{pathlib.Path(sys.argv[0]).stem}: error: {message}")


def get(url, token=None):
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read().decode()


def until(what, ask, seconds=60):
    """Asks until there is an answer."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := ask():
                return found
        except OSError:
            pass
        if time.monotonic() > deadline:
            fail(f"{what}: not within {seconds} s")
        time.sleep(0.2)


def queries():
    """(title, expression) of everything that the dashboard asks for."""
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield f"${variable['name']}", re.match(r"label_values\((.*), \w+\)", variable["definition"])[1]


def exported(text):
    """Names of all series in an answer, those of histograms by their parts."""
    names = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        names |= {f"{name}{part}" for part in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    return names


def free_port():
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def programs():
    """Starts programs, and tells them to end, the last one first: `start`, and the list of them."""
    running = []

    # Where Debian has servers.
    env = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin"}

    def start(*command, **options):
        options.setdefault("env", env)
        running.append(subprocess.Popen([str(part) for part in command], **options))
        return running[-1]

    try:
        yield start, running
    finally:
        for process in reversed(running):
            process.terminate()
        for process in reversed(running):
            process.wait(timeout=60)


def main():
    program = pathlib.Path(sys.argv[1]).resolve(strict=True)
    with tempfile.TemporaryDirectory() as scratch, programs() as (start, running):
        check(program, pathlib.Path(scratch), start)
    # Prometheus, streamdet and the RTSP server: all end when they are told to, and say that all is well. nats-server says 1.
    ends = [process.returncode for process in reversed(running) if process.args[0] != "nats-server"]
    if any(ends):
        fail(f"exit codes {ends}")


def check(program, scratch, start):
    server = start("/usr/bin/python3", DEPLOY / "rtsp" / "server.py", "--port", "0", stdout=subprocess.PIPE, text=True)
    address = server.stdout.readline().strip()
    config = scratch / "config.toml"
    # Of so low a confidence that there is something to count in a test pattern.
    config.write_text(
        f'token = "{TOKEN}"\nconf = 0.01\nrtsp-transport = "tcp"\n[[stream]]\nname = "street"\nsource = "{address}"\ntrack = true\n'
        'zone = ["all=0,0,1,0,1,1,0,1"]\ncount-line = ["middle=0.5,0,0.5,1"]\n'
    )
    port = free_port()
    # Alone in its fleet.
    nats = free_port()
    start("nats-server", "-a", "127.0.0.1", "-p", nats, "-js", "-sd", scratch / "nats", "-l", scratch / "nats.log")
    fleet = ("--fleet", f"nats://127.0.0.1:{nats}", "--capacity", "2")
    start(program, "serve", "--config", config, "--listen", f"127.0.0.1:{port}", "--imgsz", "320", *fleet, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    until("streamdet is ready", lambda: get(f"{url}/readyz"))
    metrics = until("something is detected", lambda: (text := get(f"{url}/metrics", TOKEN)) and "streamdet_detections_total{" in text and text)
    until("its fleet is reached", lambda: "streamdet_fleet_connected 1" in get(f"{url}/metrics", TOKEN))
    names = exported(metrics)

    asked = list(queries())
    for title, expression in [*asked, ("alerts.yaml", ALERTS.read_text())]:
        for name in set(OWN.findall(expression)) - names:
            fail(f"{title}: /metrics has no {name}")

    # As it is deployed, but for where things are and how often.
    (scratch / "token").write_text(TOKEN)
    settings = (DEPLOY / "prometheus" / "prometheus.yaml").read_text()
    changes = {
        "/etc/prometheus/alerts.yaml": str(ALERTS),
        "/run/secrets/token": str(scratch / "token"),
        "streamdet:8080": f"127.0.0.1:{port}",
        "_interval: 10s": "_interval: 1s",
    }
    for old, new in changes.items():
        if old not in settings:
            fail(f"prometheus.yaml has no {old} any more: adapt this check")
        settings = settings.replace(old, new)
    (scratch / "prometheus.yaml").write_text(settings)
    at = free_port()
    log = (scratch / "prometheus.log").open("w")
    start("prometheus", f"--config.file={scratch}/prometheus.yaml", f"--storage.tsdb.path={scratch}/data",
          f"--web.listen-address=127.0.0.1:{at}", stderr=log)

    def ask(expression):
        for name, value in VARIABLES.items():
            expression = expression.replace(name, value)
        found = json.loads(get(f"http://127.0.0.1:{at}/api/v1/query?query={urllib.parse.quote(expression)}"))
        return [sample for sample in found["data"]["result"] if sample["value"][1] != "NaN"]

    until("Prometheus has rates", lambda: ask("rate(streamdet_frames_received_total[10s]) > 0"))
    for title, expression in asked:
        try:
            if title in MAY_BE_EMPTY:
                ask(expression)
            else:
                until(f"{title}: data for {expression}", lambda: ask(expression), 20)
        except urllib.error.HTTPError as error:
            fail(f"{title}: {expression}: {json.loads(error.read())['error']}")
    for target in json.loads(get(f"http://127.0.0.1:{at}/api/v1/targets"))["data"]["activeTargets"]:
        if target["health"] != "up":
            fail(f"the scrape fails: {target['lastError']}")
    rules = json.loads(get(f"http://127.0.0.1:{at}/api/v1/rules"))["data"]["groups"][0]["rules"]
    for rule in until("the rules are evaluated", lambda: all(r["health"] != "unknown" for r in rules) and rules, 5):
        if rule["health"] != "ok" or rule["state"] != "inactive":
            fail(f"alert {rule['name']} of a healthy server: {rule['state']}, {rule.get('lastError', rule['health'])}")
    for line in (scratch / "prometheus.log").read_text().splitlines():
        if "level=warn" in line or "level=error" in line:
            print(f"dashboard: notice: Prometheus says: {line}", file=sys.stderr)
    print(f"dashboard: {len(asked)} queries and {len(rules)} rules, all answered", file=sys.stderr)


if __name__ == "__main__":
    main()
