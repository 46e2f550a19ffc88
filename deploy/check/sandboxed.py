"""Runs a command under the system call filter, address families and the like of deploy/systemd/streamdet.service, as systemd would set them.

    sandboxed.py COMMAND ARGUMENT…

There is no systemd to ask where this runs: the groups of system calls are those that systemd-analyze lists.
"""

import errno
import os
import pathlib
import socket
import subprocess
import sys

import seccomp

UNIT = pathlib.Path(__file__).resolve().parent.parent / "systemd" / "streamdet.service"


def calls(group):
    """Names of a group's system calls, those of groups within it too."""
    listed = subprocess.run(["systemd-analyze", "syscall-filter", group], check=True, capture_output=True, text=True).stdout
    found = set()
    for line in listed.splitlines()[1:]:
        name = line.strip()
        if name.startswith("@"):
            found |= calls(name)
        elif name and not name.startswith("#"):
            found.add(name)
    return found


def main():
    settings = [line.split("=", 1) for line in UNIT.read_text().splitlines() if "=" in line and not line.startswith("#")]
    allowed = set()
    for value in (value for key, value in settings if key == "SystemCallFilter"):
        allowed = allowed - calls(value[1:]) if value.startswith("~") else allowed | calls(value)
    if not allowed:
        sys.exit(f"sandboxed: error: {UNIT.name} has no SystemCallFilter")
    denied = seccomp.ERRNO(errno.EPERM)
    rules = seccomp.SyscallFilter(defaction=denied)
    families = next(value for key, value in settings if key == "RestrictAddressFamilies").split()
    for name in allowed - {"socket"}:
        try:
            rules.add_rule(seccomp.ALLOW, name)
        except (OSError, RuntimeError):
            pass  # of another architecture
    for family in families:
        rules.add_rule(seccomp.ALLOW, "socket", seccomp.Arg(0, seccomp.EQ, getattr(socket, family)))
    # The filter lets it be set up itself, and the command begin: systemd's is in force only from there on.
    for name in ("execve", "seccomp", "prctl"):
        rules.add_rule(seccomp.ALLOW, name)
    rules.load()
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
