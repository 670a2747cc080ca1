#!/usr/bin/env bash
# stamps.sh - brings datasets/stamps/: the rubber stamps of Tux Paint, drawings and photographs of things in folders by kind
# (animals, food, vehicles ...), from Debian's and Ubuntu's package tuxpaint-stamps-default (160 MB, free licences).
# Kinds with fewer than 20 stamps are left out. Variants of one thing (cow.png, cow2.png) stay in one split.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=$here/stamps
. "$here/from-package.sh"

if [ -d "$target/train" ]; then
    echo "$target is there"
    exit 0
fi
scratch=$(mktemp -d "$here/.stamps.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
stamps=$(unpack tuxpaint-stamps-default /usr/share/tuxpaint/stamps)
for kind in "$stamps"/*/; do
    class=$(basename "$kind")
    [ "$(find "$kind" -name '*.png' | wc -l)" -ge 20 ] || continue
    while IFS= read -r file; do
        name=$(basename "$file" .png)
        split=$(split_of "$class/$(printf '%s' "$name" | sed -E 's/[-_ ]*[0-9]*[a-z]?$//')")
        mkdir -p "$scratch/new/$split/$class"
        # two folders of a kind may hold the same name
        name=${file#"$kind"}
        cp "$file" "$scratch/new/$split/$class/${name//[\/ ]/_}"
    done < <(find "$kind" -name '*.png' | LC_ALL=C sort)
done
[ -d "$scratch/new/train" ] || die "no stamps found in $stamps"
finish "$scratch/new" "$target"
