#!/usr/bin/env bash
# sections-ten.sh [ROWS] - draws a small set from datasets/debian-sections: the ten largest sections, ROWS training rows in
# all (2000), as many of each: datasets/sections-ten/{train,val,test}.tsv. For what is learned from few examples: a
# fine-tuned transformer beside a bag of n-grams (datasets/README.md). The same lists give the same bytes.
#
# Which rows are drawn is decided by a hash of the package's name, other than the one that split the whole set. val and
# test are all rows of the ten sections in its splits.
set -euo pipefail
export LC_ALL=C
rows=${1:-2000}
here=$(cd "$(dirname "$0")" && pwd)
source=$here/debian-sections target=$here/sections-ten

die() { printf 'sections-ten.sh: %s\n' "$*" >&2; exit 1; }
[[ $rows =~ ^[0-9]+$ ]] && [ "$rows" -ge 10 ] || die "usage: sections-ten.sh [ROWS], 10 or more"
[ -s "$source/train.tsv" ] || die "$source is not there: run datasets/debian-sections.sh first"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
tail -n +2 "$source/train.tsv" | cut -f 1 | sort | uniq -c | sort -k1,1nr -k2,2 | awk 'NR <= 10 { print $2 }' >"$scratch/ten"

# A draw for each row, sections apart, the smallest draws first; modulo a prime that doubles hold exactly in every awk.
awk -F '\t' '
    BEGIN { for (k = 1; k < 256; k++) ord[sprintf("%c", k)] = k }
    NR == FNR { ten[$1]; next }
    FNR > 1 && $1 in ten {
        split($2, word, " ")
        h = 7919
        for (k = 1; k <= length(word[1]); k++) h = (h * 48271 + ord[substr(word[1], k, 1)]) % 2147483647
        printf "%s\t%010d\t%s\n", $1, h, $2
    }' "$scratch/ten" "$source/train.tsv" | sort -t "$(printf '\t')" -k1,1 -k2,2 -k3,3 |
    awk -F '\t' -v most=$((rows / 10)) 'BEGIN { print "label\ttext" } seen[$1]++ < most { print $1 "\t" $3 }' >"$scratch/train.tsv"
for part in val test; do
    awk -F '\t' 'NR == FNR { ten[$1]; next } FNR == 1 || $1 in ten' "$scratch/ten" "$source/$part.tsv" >"$scratch/$part.tsv"
done

mkdir -p "$target"
for part in train val test; do # never half a file under the final name
    cp "$scratch/$part.tsv" "$target/.$part.new"
    mv "$target/.$part.new" "$target/$part.tsv"
done
count() { echo $(($(wc -l <"$target/$1.tsv") - 1)); }
echo "$target is ready: $(count train) training, $(count val) validation and $(count test) test rows of: $(tr '\n' ' ' <"$scratch/ten")"
