#!/usr/bin/env bash
# debian-sections.sh - brings package names with descriptions to their sections: datasets/debian-sections/
# {train,val,test}.tsv with a header "label<TAB>text", from the package lists that apt has already fetched
# (/var/lib/apt/lists; nothing is downloaded). The same lists give the same bytes.
#
# One row a package: its section, and its name with the one-line description behind it. The split is a
# hash of the name alone (10 % test, 10 % val), so a package keeps its split when the archive changes.
# Transitional and debug-symbol packages say nothing of their section's kind and stay: they are in the
# archive like all others.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
target=$here/debian-sections
lists=${HONE_APT_LISTS:-/var/lib/apt/lists}

die() { printf 'debian-sections.sh: %s\n' "$*" >&2; exit 1; }

# A list, unpacked, whatever apt packed it by.
show() {
    case $1 in
    *.gz) gzip -dc "$1" ;;
    *.xz) xz -dc "$1" ;;
    *.lz4)
        if [ -x /usr/lib/apt/apt-helper ]; then /usr/lib/apt/apt-helper cat-file "$1"; else lz4 -dc "$1"; fi ;;
    *) cat "$1" ;;
    esac
}

# The archive proper, not its updates: those repeat packages.
mapfile -t found < <(ls "$lists" 2>/dev/null | grep -E '_dists_[a-z]+_(main|universe)_binary-[a-z0-9]+_Packages(\.(lz4|gz|xz))?$' | sort || true)
[ ${#found[@]} -gt 0 ] || die "no package lists in $lists: run apt-get update (as root) first"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for f in "${found[@]}"; do show "$lists/$f" || die "could not read $lists/$f; try apt-get update"; done | awk '
    function flush() {
        if (name != "" && section != "" && text != "") print section "\t" name " " text
        name = section = text = ""
    }
    /^Package: / { name = substr($0, 10) }
    /^Section: / { section = substr($0, 10); sub(/^.*\//, "", section) } # universe/net is net
    /^Description: / { text = substr($0, 14); gsub(/[\t\r]/, " ", text) }
    /^$/ { flush() }
    END { flush() }' | sort -t "$(printf '\t')" -k2,2 -u >"$scratch/all"
[ -s "$scratch/all" ] || die "the lists in $lists hold no packages: run apt-get update"

# FNV-like over the letters of the name, modulo a prime that doubles hold exactly in every awk.
awk -F '\t' -v out="$scratch" '
    BEGIN {
        for (k = 1; k < 256; k++) ord[sprintf("%c", k)] = k
        for (k = split("train val test", part, " "); k > 0; k--) print "label\ttext" >(out "/" part[k] ".tsv")
    }
    {
        split($2, word, " ")
        h = 2166
        for (k = 1; k <= length(word[1]); k++) h = (h * 16777 + ord[substr(word[1], k, 1)]) % 2147483647
        b = h % 10
        print >(out "/" (b == 0 ? "test" : b == 1 ? "val" : "train") ".tsv")
    }' "$scratch/all"

# Sections that training lacks could not be learned: their few rows leave val and test.
cut -f 1 "$scratch/train.tsv" | sort -u >"$scratch/known"
mkdir -p "$target"
for part in train val test; do
    awk -F '\t' 'NR == FNR { known[$1]; next } FNR == 1 || $1 in known' "$scratch/known" "$scratch/$part.tsv" >"$target/.$part.new"
    mv "$target/.$part.new" "$target/$part.tsv" # never half a file under the final name
done
count() { echo $(($(wc -l <"$target/$1.tsv") - 1)); }
echo "$target is ready: $(count train) training, $(count val) validation and $(count test) test rows, $(($(wc -l <"$scratch/known") - 1)) sections"
