#!/usr/bin/env bash
# spam.sh [--threads] FILE - splits a table of mails into datasets/spam/{train,test}.tsv (80 : 20, header
# "label<TAB>text"). FILE: lines "label<TAB>text" with or without that header, plain, .gz or .xz; for example
# the public SpamAssassin corpus as one mail a line (https://spamassassin.apache.org/old/publiccorpus/).
#
# Mails whose letters are all the same as an earlier one's are left out and counted. The side of a mail is
# a hash of its letters. With --threads it is a hash of its first four words without "Re:", "Fwd:" and
# "[list]", so that threads and mailings stay together: a harder test, and nearer to what new mail will be,
# because no reply to a test mail was trained on. The same file gives the same bytes.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
target=$here/spam

die() { printf 'spam.sh: %s\n' "$*" >&2; exit 1; }
threads=0
[ "${1:-}" = --threads ] && { threads=1; shift; }
[ $# -eq 1 ] || die "usage: datasets/spam.sh [--threads] FILE.tsv (lines label<TAB>text)"
[ -r "$1" ] || die "$1: no such file, or not readable"
case $1 in
*.gz) unpack=(gzip -dc) ;;
*.xz) unpack=(xz -dc) ;;
*) unpack=(cat) ;;
esac

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"${unpack[@]}" "$1" | awk -F '\t' -v out="$scratch" -v threads=$threads '
    BEGIN {
        for (k = 1; k < 256; k++) ord[sprintf("%c", k)] = k
        print "label\ttext" >(out "/train.tsv")
        print "label\ttext" >(out "/test.tsv")
    }
    NR == 1 { sub(/^\357\273\277/, "") } # the mark of UTF-8
    { sub(/\r$/, "") }
    NR == 1 && $0 == "label\ttext" { next }
    NF != 2 || $1 == "" { printf "spam.sh: line %d: wanted label<TAB>text, found %d columns\n", NR, NF >"/dev/stderr"; bad = 1; exit 1 }
    {
        plain = tolower($2)
        gsub(/[^a-z0-9]+/, " ", plain)
        if (plain in seen) { copies++; next }
        seen[plain]
        text = threads ? tolower($2) : plain
        while (sub(/^[ ]*(re|fwd|fw|aw)[ ]*(\[[0-9]*\])?[ ]*:|^[ ]*\[[^]]*\]/, "", text)) {}
        gsub(/[^a-z0-9]+/, " ", text)
        n = split(text, word, " ")
        h = 2166
        for (w = 1; w <= n && (w <= 4 || !threads); w++)
            for (k = 0; k <= length(word[w]); k++) h = (h * 16777 + (k ? ord[substr(word[w], k, 1)] : 32)) % 2147483647
        side = h % 5 ? "train" : "test"
        print >(out "/" side ".tsv")
        rows[side]++
    }
    END {
        if (bad) exit 1
        printf "%d training and %d test mails (%d copies left out)\n", rows["train"], rows["test"], copies >(out "/said")
    }' || die "$1 is not a table of mails"
[ "$(wc -l <"$scratch/test.tsv")" -gt 1 ] || die "$1: too few mails for a test split"
mkdir -p "$target"
for part in train test; do
    cp "$scratch/$part.tsv" "$target/.$part.new"
    mv "$target/.$part.new" "$target/$part.tsv" # never half a file under the final name
done
echo "$target is ready: $(cat "$scratch/said")"
