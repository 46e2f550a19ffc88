#!/usr/bin/env bash
# Installs what streamdet needs to build and run: Debian packages and ONNX Runtime.
# Does nothing where nothing is missing, so it may run before every build.
#
#   scripts/setup.sh [cpu|cuda|test|deploy]
#   scripts/setup.sh build                    the packages that building needs, alone
#   scripts/setup.sh run [PACKAGE…]           those that running needs, alone, and these
#   scripts/setup.sh runtime cpu|cuda         ONNX Runtime alone
#
# `test` adds what only the tests need, `deploy` what only deploy/check.sh does.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
lock=$here/onnxruntime.lock
scratch=

say() { printf 'setup: %s\n' "$*" >&2; }

die() {
    printf 'setup: error: %s\n' "$1" >&2
    shift
    if (($# > 0)); then
        printf '       %s\n' "$@" >&2
    fi
    exit 1
}

cleanup() {
    if [[ -n $scratch ]]; then
        rm -rf -- "$scratch"
    fi
}
trap cleanup EXIT

is_installed() {
    [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# Installs what the lists name, and what is named behind `--`.
install_packages() {
    local name lists=() missing=()
    while (($# > 0)) && [[ $1 != -- ]]; do
        lists+=("$1")
        shift
    done
    while read -r name _; do
        if [[ -n $name && $name != '#'* ]] && ! is_installed "$name"; then
            missing+=("$name")
        fi
    done < <(cat -- "${lists[@]}" && printf '%s\n' "${@:2}")
    if ((${#missing[@]} == 0)); then
        return
    fi

    local as_root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null || die "packages are missing, and there is no sudo to install them with" \
            "As root: apt-get update && apt-get install --no-install-recommends ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing ${missing[*]}"
    "${as_root[@]}" apt-get update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --no-install-recommends "${missing[@]}" ||
        die "apt-get could not install the packages" "Its message above says why."
}

# The build of ONNX Runtime for this machine.
choose_runtime() {
    case $1/$(uname -m) in
        cpu/x86_64) echo onnxruntime-openvino ;;
        cpu/aarch64) echo onnxruntime ;;
        cuda/x86_64) echo onnxruntime-gpu ;;
        *) die "no ONNX Runtime is pinned for $1 on $(uname -m)" \
            "Build one (https://onnxruntime.ai/docs/build/) and name its library in STREAMDET_ONNXRUNTIME." ;;
    esac
}

install_runtime() {
    local wanted=$1 folder=$2
    local name version platforms python sha256
    read -r name version platforms python sha256 < <(grep -E "^${wanted}[[:space:]]" "$lock") ||
        die "$wanted has no line in $lock"

    local stamp=$folder/installed-from
    if [[ -e $folder/libonnxruntime.so && -f $stamp && $(<"$stamp") == "$sha256" ]]; then
        return
    fi

    say "downloading ONNX Runtime: $name $version"
    local parent interpreter=/usr/bin/python3
    parent=$(dirname -- "$folder")
    mkdir -p -- "$parent"
    # Beside its destination, so that the last step is a rename.
    scratch=$(mktemp -d -- "$parent/.setup-XXXXXX")
    # Debian's own Python has the pip that packages.txt asks for; another one in PATH may have none.
    if ! [[ -x $interpreter ]]; then
        interpreter=python3
    fi
    local tag platform_options=()
    for tag in ${platforms//./ }; do
        platform_options+=(--platform "$tag")
    done
    printf '%s==%s --hash=sha256:%s\n' "$name" "$version" "$sha256" >"$scratch/requirements.txt"
    "$interpreter" -m pip --disable-pip-version-check --no-input download --quiet --no-cache-dir \
        --no-deps --only-binary=:all: \
        --implementation cp --abi "$python" --python-version "${python#cp}" "${platform_options[@]}" \
        --require-hashes --requirement "$scratch/requirements.txt" --dest "$scratch" ||
        die "$name $version could not be downloaded, or it is not the file that was pinned" \
            "pip's message above says which. No network: run this again later." \
            "Another hash than $sha256: do not use that file;" \
            "look at the package index pip is set to (pip config list) or at a proxy in between."

    local unpacked=$scratch/unpacked new=$scratch/new
    unzip -q "$scratch"/*.whl 'onnxruntime/*' -d "$unpacked"
    mkdir -- "$new"
    # Every library side by side: they find one another through their run path, $ORIGIN.
    mv -- "$unpacked"/onnxruntime/capi/lib*.so* "$new"
    mv -- "$unpacked"/onnxruntime/{LICENSE,ThirdPartyNotices.txt} "$new"
    # A wheel holds no links: of some libraries it has three copies.
    local library first copy
    for library in "$new"/lib*.so; do
        first=
        for copy in "$library".* "$library"; do
            if [[ -z $first ]]; then
                first=$copy
            elif [[ -f $copy ]] && cmp --quiet -- "$first" "$copy"; then
                ln -sf -- "$(basename -- "$first")" "$copy"
            fi
        done
    done
    ln -s -- "libonnxruntime.so.$version" "$new/libonnxruntime.so"
    [[ -e $new/libonnxruntime.so ]] ||
        die "the wheel of $name $version holds no libonnxruntime.so.$version" "Its layout changed: adapt $0."
    echo "$sha256" >"$new/installed-from"

    if [[ -e $folder ]]; then
        mv -- "$folder" "$scratch/old"
    fi
    mv -- "$new" "$folder"
    rm -rf -- "$scratch"
    scratch=
    say "ONNX Runtime $version is in $folder"
}

main() {
    local variant=${1:-cpu}
    local runtime=$variant

    local lists=("$here/packages.txt" "$here/packages-run.txt")
    case $variant in
        cpu | cuda) ;;
        test | deploy)
            lists+=("$here/packages-$variant.txt")
            runtime=cpu
            ;;
        build) lists=("$here/packages.txt") ;;
        run) lists=("$here/packages-run.txt") ;;
        runtime)
            lists=()
            runtime=${2:-}
            ;;
        *) die "'$variant' is none of cpu, cuda, test, deploy, build, run, runtime" "The head of $0 says what each installs." ;;
    esac

    if ((${#lists[@]} > 0)); then
        if command -v dpkg-query >/dev/null; then
            install_packages "${lists[@]}" -- "${@:2}"
        else
            say "not a Debian: see that your system has what ${lists[*]} lists"
        fi
    fi

    case $runtime in
        build | run) return ;;
    esac
    local data=${XDG_DATA_HOME:-$HOME/.local/share}/streamdet
    case $runtime in
        cpu)
            runtime=$(choose_runtime cpu)
            install_runtime "$runtime" "$data/onnxruntime"
            ;;
        cuda)
            runtime=$(choose_runtime cuda)
            install_runtime "$runtime" "$data/onnxruntime-cuda"
            say "for NVIDIA cards: needs their driver, CUDA 12 and cuDNN 9 (TensorRT 10 for --provider tensorrt), which this does not install"
            say "--provider auto finds it where the CUDA driver has a GPU; --provider cuda and tensorrt find it anyway"
            ;;
        *) die "'$runtime' is none of cpu, cuda" "Usage: scripts/setup.sh runtime cpu|cuda" ;;
    esac
}

main "$@"
