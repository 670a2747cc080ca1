#!/usr/bin/env bash
# sprites.sh - brings datasets/sprites/: figures of Battle for Wesnoth (72 x 72 and larger, on nothing) in folders by people
# (drakes, elves, orcs ...), from Debian's and Ubuntu's package wesnoth-1.16-data (146 MB, GPL).
# Peoples with fewer than 200 pictures are left out; all pictures of one unit stay in one split. Of its movements, which are
# hundreds of nearly the same picture, one in eight is taken for training and one in two for test.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=$here/sprites
. "$here/from-package.sh"

if [ -d "$target/train" ]; then
    echo "$target is there"
    exit 0
fi
scratch=$(mktemp -d "$here/.sprites.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
units=$(unpack wesnoth-1.16-data /usr/share/games/wesnoth/1.16/data/core/images/units)
declare -A split_by_unit
for people in "$units"/*/; do
    class=$(basename "$people")
    [ "$(find "$people" -name '*.png' | wc -l)" -ge 200 ] || continue
    while IFS= read -r file; do
        # "fighter-attack-1.png" is of the unit "fighter"; so is "fighter/defend-2.png"
        unit=${file#"$people"}
        unit=${unit%%[-/+.]*}
        # asked once a unit, which has hundreds of pictures
        [ -n "${split_by_unit[$class/$unit]:-}" ] || split_by_unit[$class/$unit]=$(split_of "$class/$unit")
        split=${split_by_unit[$class/$unit]} name=${file#"$people"}
        name=${name//[\/ ]/_}
        if [ "$split" = train ]; then one_in 8 "keep $class/$name" || continue; else one_in 2 "keep $class/$name" || continue; fi
        mkdir -p "$scratch/new/$split/$class"
        cp "$file" "$scratch/new/$split/$class/$name"
    done < <(find "$people" -name '*.png' | LC_ALL=C sort)
done
[ -d "$scratch/new/train" ] || die "no figures found in $units"
finish "$scratch/new" "$target"
