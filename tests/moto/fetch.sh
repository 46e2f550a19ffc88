#!/usr/bin/env bash
# Fetches the tests' S3 server: moto, which is Apache-2.0, from the Python package index with what it needs, each by its hash. It is
# no part of this project nor of what it builds for users.
#
#   tests/moto/fetch.sh FOLDER
set -euo pipefail

folder=${1:?usage: tests/moto/fetch.sh FOLDER}
here=$(dirname -- "${BASH_SOURCE[0]}")

if [[ -e $folder/moto/server.py && $folder -nt $here/requirements.txt && $folder -nt ${BASH_SOURCE[0]} ]]; then
    exit
fi

mkdir -p -- "$(dirname -- "$folder")"
scratch=$(mktemp -d -- "$(dirname -- "$folder")/.moto-XXXXXX")
trap 'rm -rf -- "$scratch"' EXIT

# Debian's own Python has a pip; another one in PATH may have none. The tests take the same.
python=/usr/bin/python3
if ! [[ -x $python ]]; then
    python=python3
fi
printf 'moto: fetching the S3 server (30 MB, once)\n' >&2
"$python" -m pip --disable-pip-version-check --no-input install --quiet --no-cache-dir --root-user-action=ignore \
    --no-deps --only-binary=:all: --require-hashes --requirement "$here/requirements.txt" --target "$scratch/new"
rm -rf -- "$folder"
mv -- "$scratch/new" "$folder"
touch "$folder"
