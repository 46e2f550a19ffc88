#!/usr/bin/env bash
# Packages target/release/streamdet, with ONNX Runtime, for this release of Debian: target/debian/streamdet_*.deb
#
#   deploy/deb.sh
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
version=3.8.0
tool=target/deploy/tools/bin/cargo-deb

[[ -x target/release/streamdet ]] || {
    echo 'deb: error: no target/release/streamdet: make build' >&2
    exit 1
}
if ! [[ -x $tool ]]; then
    tool=$(command -v cargo-deb) || {
        cargo install cargo-deb --version "$version" --locked --quiet --root target/deploy/tools
        tool=target/deploy/tools/bin/cargo-deb
    }
fi
# As it is installed for everyone else, but into the package.
XDG_DATA_HOME=$PWD/target/deploy scripts/setup.sh runtime cpu
mkdir -p target/deploy/completions
scripts/notices.sh >target/deploy/THIRD-PARTY.txt
target/release/streamdet completions bash >target/deploy/completions/streamdet
"$tool" deb --no-build --quiet
