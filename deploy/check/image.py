"""Builds what deploy/Dockerfile describes without a container engine or registry, and runs it as an engine would.

The instructions are read from the Dockerfile itself. A clean Debian from debootstrap stands in for the base image; a program that
is built already stands in for the stage that compiles it. An instruction that is not understood is an error.

    image.py build TARGET ROOT --base FOLDER --have build=/src/target/release/streamdet=FILE
    image.py run ROOT [--bind FROM:TO]… [--command STREAMDET_ARGUMENT…]
"""

import argparse
import dataclasses
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

PROJECT = pathlib.Path(__file__).resolve().parent.parent.parent
DOCKERFILE = PROJECT / "deploy" / "Dockerfile"
# The base image that debootstrap stands in for.
BASE = "debian:bookworm-slim"


def die(message):
    sys.exit(f"image: error: {message}")


def instructions(text):
    """(line, word, rest) of every instruction, its continued lines joined and comments left out."""
    found, parts, first = [], [], 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") or not (line.strip() or parts):
            continue
        first = first if parts else number
        continues = line.rstrip().endswith("\\")
        parts.append(line.rstrip().removesuffix("\\"))
        if not continues:
            word, _, rest = " ".join(part.strip() for part in parts).partition(" ")
            found.append((first, word.upper(), rest.strip()))
            parts = []
    return found


@dataclasses.dataclass
class Stage:
    """A stage of the Dockerfile: what it begins with, and what it does."""

    base: str
    steps: list = dataclasses.field(default_factory=list)


def stages():
    found, name = {}, None
    for line, word, rest in instructions(DOCKERFILE.read_text()):
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            if not name:
                die(f"{DOCKERFILE.name}:{line}: a stage without a name")
            found[name] = Stage(base)
        elif name is None:
            die(f"{DOCKERFILE.name}:{line}: {word} before the first FROM")
        else:
            found[name].steps.append((line, word, rest))
    return found


@dataclasses.dataclass
class Image:
    """A root folder, and what the image says about running it."""

    root: pathlib.Path
    env: dict = dataclasses.field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    entrypoint: list = dataclasses.field(default_factory=list)
    command: list = dataclasses.field(default_factory=list)
    stop_signal: str = "SIGTERM"

    def at(self, path):
        """A path inside the image, as one of this machine."""
        return self.root / os.path.join(self.workdir, path).lstrip("/")


def options(rest):
    """The --NAME=VALUE words in front, and what follows them."""
    found = []
    while match := re.match(r"--([a-z]+)=(\S+)\s+", rest):
        found.append((match[1], match[2]))
        rest = rest[match.end():]
    return found, rest


class Builder:
    """Builds stages, each once."""

    def __init__(self, base, have, scratch):
        self.base, self.have, self.scratch = base, have, scratch
        self.stages, self.built = stages(), {}

    def build(self, name, root):
        stage = self.stages.get(name) or die(f"{DOCKERFILE.name} has no stage {name!r}")
        if stage.base in self.stages:
            image = self.image(stage.base)
            image = dataclasses.replace(image, root=root, env=dict(image.env))
            origin = self.built[stage.base].root
        elif stage.base == BASE:
            image, origin = Image(root), self.base
        else:
            die(f"stage {name} begins with {stage.base}, for which nothing stands in: give its files by --have")
        print(f"image: {name}", file=sys.stderr, flush=True)
        subprocess.run(["cp", "--archive", "--reflink=auto", f"{origin}/.", root], check=True)
        for line, word, rest in stage.steps:
            self.step(image, line, word, rest)
        self.built[name] = image
        return image

    def image(self, name):
        if name not in self.built:
            root = self.scratch / name
            root.mkdir()
            self.build(name, root)
        return self.built[name]

    def step(self, image, line, word, rest):
        print(f"image:   {word} {rest}"[:150], file=sys.stderr, flush=True)
        match word:
            case "RUN":
                self.run(image, line, rest)
            case "COPY":
                self.copy(image, line, rest)
            case "ENV":
                image.env.update(pair.split("=", 1) for pair in shlex.split(rest))
            case "WORKDIR":
                image.workdir = os.path.join(image.workdir, rest)
                image.at(".").mkdir(parents=True, exist_ok=True)
            case "USER":
                image.user = rest
            case "ENTRYPOINT":
                image.entrypoint = json.loads(rest)
            case "CMD":
                image.command = json.loads(rest)
            case "STOPSIGNAL":
                image.stop_signal = rest
            case "LABEL" | "EXPOSE":
                pass
            case _:
                die(f"{DOCKERFILE.name}:{line}: {word} is not understood here")

    def copy(self, image, line, rest):
        found, rest = options(rest)
        *sources, target = rest.split()
        origin = None
        for name, value in found:
            if name != "from":
                die(f"{DOCKERFILE.name}:{line}: COPY --{name} is not understood here")
            origin = value
        for source in sources:
            if (origin, source) in self.have:
                file = self.have[origin, source]
            elif origin is None:
                file = taken_by_the_build(source)
            else:
                file = self.image(origin).root / source.lstrip("/")
            into = image.at(target)
            if file.is_dir():
                into.mkdir(parents=True, exist_ok=True)
                subprocess.run(["cp", "--archive", "--no-preserve=ownership", f"{file}/.", into], check=True)
            else:
                into = into / file.name if target.endswith("/") or into.is_dir() else into
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, into)

    def run(self, image, line, rest):
        found, command = options(rest)
        mounts, env = [], {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **image.env}
        for name, value in found:
            fields = dict(field.split("=", 1) for field in value.split(","))
            if name != "mount" or fields.pop("type", None) != "bind" or set(fields) - {"source", "target", "from"}:
                die(f"{DOCKERFILE.name}:{line}: --{name}={value} is not understood here")
            source = self.image(fields["from"]).root / fields["source"] if "from" in fields else taken_by_the_build(fields["source"])
            mounts += ["--ro-bind", source, fields["target"]]
        # As engines do: names are looked up, and proxies found, as on this machine.
        mounts += ["--ro-bind", os.path.realpath("/etc/resolv.conf"), "/etc/resolv.conf"]
        for name in ("http_proxy", "https_proxy", "no_proxy", "PIP_CERT", "PIP_DEFAULT_TIMEOUT"):
            if name in os.environ:
                env[name] = os.environ[name]
        if "PIP_CERT" in env:
            mounts += ["--ro-bind", env["PIP_CERT"], "/tmp/certificates.pem"]
            env["PIP_CERT"] = "/tmp/certificates.pem"
        # --cap-add: dpkg changes owners, and apt changes to a user of its own.
        sandbox = ["bwrap", "--bind", image.root, "/", "--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/tmp", "--unshare-pid",
                   "--cap-add", "ALL", "--die-with-parent", "--clearenv", *mounts, "--chdir", image.workdir]
        for pair in env.items():
            sandbox += ["--setenv", *pair]
        shell = json.loads(command) if command.startswith("[") else ["/bin/sh", "-c", command]
        if subprocess.run([*map(str, sandbox), *shell], stdin=subprocess.DEVNULL).returncode != 0:
            die(f"{DOCKERFILE.name}:{line}: the command failed")


def taken_by_the_build(source):
    """A file or folder of the project, if the build context has it."""
    lines = pathlib.Path(f"{DOCKERFILE}.dockerignore").read_text().splitlines()
    kept = [line.removeprefix("!") for line in lines if line.startswith("!")]
    if not any(pathlib.PurePath(source).is_relative_to(keep) for keep in kept):
        die(f"{source} is not in the build context: {DOCKERFILE.name}.dockerignore leaves it out")
    return PROJECT / source


def build(args):
    if os.geteuid() != 0:
        die("only root can make a root file system")
    have = {}
    for text in args.have:
        stage, path, file = text.split("=")
        have[stage, path] = pathlib.Path(file).resolve(strict=True)
    root = args.root.resolve()
    root.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="stages-", dir=root.parent) as scratch:
        image = Builder(args.base, have, pathlib.Path(scratch)).build(args.target, root)
    facts = dataclasses.asdict(image) | {"root": str(root)}
    pathlib.Path(f"{root}.json").write_text(json.dumps(facts, indent=1))


def command_line(root, binds=(), arguments=None, env=None, network=False):
    """The command that runs an image as `docker run --read-only --cap-drop ALL --security-opt no-new-privileges` does: its
    own user, PID 1, a root that is read-only, an empty /tmp and /var/cache/streamdet, and with `network` this machine's."""
    facts = json.loads(pathlib.Path(f"{root}.json").read_text())
    uid, gid = facts["user"].split(":")
    env = {"PATH": "/usr/bin:/bin"} | facts["env"] | (env or {})
    sandbox = ["bwrap", "--ro-bind", root, "/", "--proc", "/proc", "--dev", "/dev", "--ro-bind", "/sys", "/sys", "--perms", "1777",
               "--tmpfs", "/tmp", "--perms", "1777", "--tmpfs", "/var/cache/streamdet", "--unshare-pid", "--unshare-ipc",
               "--unshare-uts", "--as-pid-1", "--die-with-parent", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID",
               "--cap-add", "CAP_SETPCAP", "--clearenv", "--chdir", facts["workdir"]]
    sandbox += [] if network else ["--unshare-net"]
    for origin, target in binds:
        sandbox += ["--bind", origin, target]
    for pair in env.items():
        sandbox += ["--setenv", *pair]
    user = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    return [*map(str, sandbox), *user, "--", *facts["entrypoint"], *(facts["command"] if arguments is None else arguments)]


def run(args):
    binds = [bind.split(":") for bind in args.bind]
    env = dict(pair.split("=", 1) for pair in args.env)
    line = command_line(args.root.resolve(), binds, args.command, env, args.network)
    os.execvp(line[0], line)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    builds = commands.add_parser("build")
    builds.add_argument("target")
    builds.add_argument("root", type=pathlib.Path)
    builds.add_argument("--base", type=pathlib.Path, required=True, help="a root made by debootstrap")
    builds.add_argument("--have", action="append", default=[], metavar="STAGE=PATH=FILE", help="a file that a stage would have made")
    builds.set_defaults(do=build)
    runs = commands.add_parser("run")
    runs.add_argument("root", type=pathlib.Path)
    runs.add_argument("--bind", action="append", default=[], metavar="FROM:TO")
    runs.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    runs.add_argument("--network", action="store_true", help="this machine's network, instead of none")
    runs.add_argument("--command", nargs=argparse.REMAINDER, help="arguments in place of CMD")
    runs.set_defaults(do=run)
    args = parser.parse_args()
    args.do(args)


if __name__ == "__main__":
    main()
