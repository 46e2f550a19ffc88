#!/usr/bin/env bash
# Prints the licences of all that target/release/streamdet is linked from, each text once, with the crates that it covers: what packages
# and images have to carry along.
#
#   scripts/notices.sh >THIRD-PARTY.txt
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
cargo fetch --locked --quiet
sources=${CARGO_HOME:-$HOME/.cargo}/registry/src
declare -A covers=() text=()
order=()
echo 'streamdet contains these crates, and the libraries that they bring along. Those with * come without the text of their licence:'
echo 'it is that of the others of the same licence below.'
echo
while IFS='|' read -r crate licence; do
    name=${crate/ v/-}
    folders=("$sources"/*/"$name")
    [[ -d ${folders[0]} ]] || {
        echo "notices: error: no source of $crate in $sources" >&2
        exit 1
    }
    mark='*'
    while IFS= read -r -d '' file; do
        mark=
        sum=$(sha256sum <"$file")
        [[ -n ${covers[$sum]:-} ]] || {
            order+=("$sum")
            text[$sum]=$file
        }
        covers[$sum]+="${covers[$sum]:+, }${file#"${folders[0]%/*}"/}"
    done < <(find "${folders[0]}" -maxdepth 4 -type f \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' -o -iname 'unlicense*' \) -print0 | sort -z)
    printf '%-40s %s\n' "$crate$mark" "$licence"
done < <(cargo tree --locked --edges normal --prefix none --no-dedupe --format '{p}|{l}' | sed 's/ (proc-macro)//' | grep -v '^streamdet ' | sort -u)
for sum in "${order[@]}"; do
    printf '\n%s\n\n' "$(printf -- '-%.0s' {1..100})"
    fold --spaces --width=100 <<<"${covers[$sum]}"
    echo
    cat -- "${text[$sum]}"
done
