#!/usr/bin/env bash
# Puts the clip of make demo, OpenCV's vtest.avi (795 frames, 768×576, pedestrians), into FILE.
# It comes out of the opencv-doc package, which is not installed: hundreds of megabytes for one file.
#
#   scripts/demo-clip.sh FILE
set -euo pipefail

file=${1:?usage: scripts/demo-clip.sh FILE}
inside=./usr/share/doc/opencv-doc/examples/data/vtest.avi

if [[ -s $file ]]; then
    exit
fi

die() {
    printf 'demo-clip: error: %s\n' "$1" >&2
    printf '           Put any video at %s and run this again.\n' "$file" >&2
    exit 1
}

command -v apt-get >/dev/null || die "there is no apt-get here to fetch opencv-doc with"

mkdir -p -- "$(dirname -- "$file")"
scratch=$(mktemp -d -- "$(dirname -- "$file")/.clip-XXXXXX")
trap 'rm -rf -- "$scratch"' EXIT

# As root, apt would step down to a user that cannot write to the scratch folder, and warn.
fetch() { (cd -- "$scratch" && apt-get --quiet -o APT::Sandbox::User=root download opencv-doc >&2); }

printf 'demo-clip: fetching the clip out of opencv-doc (about 100 MB)\n' >&2
if ! fetch; then
    # No package lists yet, or lists that name a version which is gone.
    if ((EUID == 0)); then
        apt-get update >&2
    elif command -v sudo >/dev/null; then
        sudo apt-get update >&2
    else
        die "apt-get update needs root, and there is no sudo"
    fi
    fetch || die "opencv-doc could not be downloaded"
fi

# Debian compresses large files of documentation in some releases, and not in others.
dpkg-deb --fsys-tarfile "$scratch"/opencv-doc_*.deb |
    tar --extract --directory "$scratch" --wildcards "$inside*" ||
    die "opencv-doc holds no $inside"
if [[ -e $scratch/$inside.gz ]]; then
    gunzip -- "$scratch/$inside.gz"
fi
mv -- "$scratch/$inside" "$file"
