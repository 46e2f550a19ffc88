#!/usr/bin/env bash
# Builds the tests' second RTSP server, which owes nothing to GStreamer, from live555's sources. They are LGPL-3.0, come
# inside the package liblivemedia of the Python package index, and are no part of this project nor of what it builds for users.
#
#   tests/live555/build.sh FILE
set -euo pipefail

file=${1:?usage: tests/live555/build.sh FILE}
server=$(dirname -- "${BASH_SOURCE[0]}")/server.cpp
version=1.0.5
sha256=564f65501ea5e823e5c53b1847ce3f41bd7b71ee2e9f3ba154a7e955817dfb48

if [[ -x $file && $file -nt $server ]]; then
    exit
fi

mkdir -p -- "$(dirname -- "$file")"
scratch=$(mktemp -d -- "$(dirname -- "$file")/.live555-XXXXXX")
trap 'rm -rf -- "$scratch"' EXIT

printf 'live555: fetching and building the second RTSP server (half a minute, once)\n' >&2
"$(dirname -- "${BASH_SOURCE[0]}")"/../download.sh liblivemedia "$version" "$sha256" "$scratch" \
    --no-binary=:all:
tar --extract --gzip --file "$scratch/liblivemedia-$version.tar.gz" --directory "$scratch" --strip-components=1

objects=$scratch/objects
mkdir -- "$objects"
rooms=(UsageEnvironment BasicUsageEnvironment groupsock liveMedia)
includes=()
for room in "${rooms[@]}"; do
    includes+=("-I$scratch/$room" "-I$scratch/$room/include")
done
# cc takes C for C, and C++ for what it is.
export CXXFLAGS="-std=c++20 -O1 -w -DSOCKLEN_T=socklen_t -DNO_OPENSSL=1 ${includes[*]}"
# shellcheck disable=SC2016 # expanded by the inner shell
find "${rooms[@]/#/$scratch/}" \( -name '*.cpp' -o -name '*.c' \) -print0 |
    xargs --null --max-args=1 --max-procs="$(nproc)" sh -c \
        'cc $CXXFLAGS -c "$1" -o "$0/$(basename "$(dirname "$1")")-$(basename "$1").o"' "$objects"
# shellcheck disable=SC2086 # several options
c++ $CXXFLAGS "$server" "$objects"/*.o -o "$scratch/server"
mv -- "$scratch/server" "$file"
