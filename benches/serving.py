"""`streamdet serve` for the benches beside: started, watched, stopped; an image to send, and what takes how long."""

import collections
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target" / "release" / "streamdet"
CLIP = ROOT / "target" / "demo" / "vtest.avi"


def frame(folder, clip=CLIP, number=100):
    """A frame of the clip as a JPEG of good quality, as cameras and phones send them."""
    if not clip.is_file():
        sys.exit(f"{clip} is not there; `make demo` downloads it, or give --image")
    path = folder / "frame.jpg"
    command = ["ffmpeg", "-v", "error", "-y", "-i", clip, "-vf", f"select=eq(n\\,{number})", "-frames:v", "1", "-q:v", "3", path]
    subprocess.run(command, check=True)
    return path.read_bytes()


def quantile(values, q):
    """The value that a share of `q` of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("nan")


def threads(pid):
    """CPU seconds by the names of a process's threads."""
    spent = collections.Counter()
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(")")
        except FileNotFoundError:
            # It has ended.
            continue
        fields = rest.split()
        spent[name.rstrip("-0123456789")] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent


def cpu_s(pid):
    """CPU seconds of a process so far, with those of threads that have ended."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Served:
    """The program, listening on a free port of loopback."""

    def __init__(self, program, *options):
        command = [str(program), "serve", "--listen", "127.0.0.1:0", *map(str, options)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.said = []
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.search(r"https?://127\.0\.0\.1:(\d+)/", line):
                self.port = int(found[1])
                break
        else:
            sys.exit(f"{' '.join(command)}\n{''.join(self.said)}")
        threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True).start()

    def status(self, field):
        """A number of /proc/PID/status, KiB of sizes."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+)", text, re.M)[1])

    def memory_mib(self):
        """Memory of its own: pages of files (the program, libraries) come and go."""
        return self.status("RssAnon") / 1024

    def threads(self):
        return self.status("Threads")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu_s(self):
        """CPU time so far."""
        return cpu_s(self.process.pid)

    def is_running(self):
        return self.process.poll() is None

    def stop(self):
        """Its exit code after SIGTERM."""
        if self.is_running():
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)
