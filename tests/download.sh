#!/usr/bin/env bash
# Downloads a package of the Python package index, which must have this hash, into a folder.
#
#   tests/download.sh NAME VERSION SHA256 FOLDER [OPTIONS of pip download...]
set -euo pipefail

name=$1 version=$2 sha256=$3 folder=$4
shift 4

# Debian's own Python has a pip; another one in PATH may have none.
python=/usr/bin/python3
if ! [[ -x $python ]]; then
    python=python3
fi
printf '%s==%s --hash=sha256:%s\n' "$name" "$version" "$sha256" >"$folder/requirements.txt"
"$python" -m pip --disable-pip-version-check --no-input download --quiet --no-deps \
    --require-hashes --requirement "$folder/requirements.txt" --dest "$folder" "$@"
