"""Headless Chromium, driven by its DevTools protocol over a pipe: nothing but the browser itself is needed."""

import fcntl
import itertools
import json
import os
import pathlib
import queue
import shutil
import subprocess
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Quiet: it asks nobody but the page's own server.
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --mute-audio --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --autoplay-policy=no-user-gesture-required --remote-debugging-pipe"
).split()
# An answer takes as long as what is evaluated waits, and this, seconds.
PATIENCE = 60


def found():
    """The browser's path; nothing where there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """One process with an empty profile; it ends with the `with` block."""

    def __init__(self, cpus=None):
        self.profile = tempfile.TemporaryDirectory(prefix="streamdet-bench-")
        self.numbers = itertools.count(1)
        self.waiting, self.logs = {}, []
        self.lock = threading.Lock()
        theirs_in, self.to = os.pipe()
        self.of, theirs_out = os.pipe()
        # The pipe's ends are descriptors 3 and 4 there: out of their way first.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]

        def placed():
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)
            if cpus:
                os.sched_setaffinity(0, cpus)

        command = [found(), *FLAGS, f"--user-data-dir={self.profile.name}", "about:blank"]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(
            command, stdin=quiet, stdout=quiet, stderr=quiet, close_fds=False, preexec_fn=placed, start_new_session=True
        )
        for end in (theirs_in, theirs_out, *ends):
            os.close(end)
        threading.Thread(target=self._listen, name="browser", daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.send("Browser.close")
            self.process.wait(timeout=10)
        except (OSError, queue.Empty, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self.to)
        self.profile.cleanup()

    def _listen(self):
        rest = b""
        with open(self.of, "rb", buffering=0) as stream:
            while data := stream.read(1 << 16):
                *messages, rest = (rest + data).split(b"\0")
                for message in map(json.loads, messages):
                    if message.get("id") in self.waiting:
                        self.waiting.pop(message["id"]).put(message)
                    elif message.get("method") == "Runtime.exceptionThrown":
                        self.logs.append(message["params"]["exceptionDetails"].get("text"))

    def send(self, method, session=None, patience=PATIENCE, **parameters):
        answer = queue.Queue(1)
        message = {"id": next(self.numbers), "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        self.waiting[message["id"]] = answer
        with self.lock:
            data = json.dumps(message).encode() + b"\0"
            while data:
                data = data[os.write(self.to, data):]
        got = answer.get(timeout=patience)
        if "error" in got:
            raise RuntimeError(f"{method}: {got['error']['message']}")
        return got["result"]

    def open(self, address, before=""):
        """A page; `before` runs ahead of its own scripts."""
        return Page(self, address, before)


class Page:
    def __init__(self, browser, address, before):
        self.browser = browser
        target = browser.send("Target.createTarget", url="about:blank", newWindow=True)["targetId"]
        self.target = target
        self.session = browser.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime"):
            browser.send(f"{domain}.enable", self.session)
        size = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.send("Emulation.setDeviceMetricsOverride", self.session, **size)
        if before:
            browser.send("Page.addScriptToEvaluateOnNewDocument", self.session, source=before)
        browser.send("Page.navigate", self.session, url=str(address))

    def evaluate(self, expression, patience=PATIENCE):
        """The value of a script, once it is there."""
        got = self.browser.send(
            "Runtime.evaluate", self.session, patience, expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in got:
            details = got["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description") or details["text"])
        return got["result"].get("value")

    def close(self):
        self.browser.send("Target.closeTarget", targetId=self.target)
