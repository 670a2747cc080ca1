# from-package.sh - what stamps.sh and sprites.sh share: files of a Debian package without installing it, and a split by
# name. To be sourced, with `scratch` a folder for the download; prints to stderr alone but for what a function answers.

die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# unpack PACKAGE FOLDER: the folder of the package's files, installed or downloaded and unpacked.
unpack() {
    if [ -d "$2" ]; then echo "$2"; return; fi
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || die "this needs apt-get and dpkg-deb (Debian, Ubuntu)"
    (cd "$scratch" && { apt-get download -q "$1" || { [ "$(id -u)" -eq 0 ] && apt-get update -qq && apt-get download -q "$1"; }; }) >&2 ||
        die "apt-get download $1 failed; try apt-get update as root first"
    dpkg-deb -x "$scratch/$1"_*.deb "$scratch/unpacked" || die "could not unpack $1"
    [ -d "$scratch/unpacked$2" ] || die "$1 has no $2: another version of the package?"
    echo "$scratch/unpacked$2"
}

# one_in N NAME: true for one name of N; a function of the name, so the same on any machine.
one_in() {
    local sum
    sum=$(printf '%s' "$2" | md5sum)
    [ $((16#${sum:0:6} % $1)) -eq 0 ]
}

# split_of NAME: test for a fifth of all names, else train.
split_of() {
    if one_in 5 "$1"; then echo test; else echo train; fi
}

# finish NEW TARGET: the new folder under its final name, in one step.
finish() {
    rm -rf "$2"
    mv "$1" "$2" || die "could not move to $2"
    printf '%s: %s training and %s test pictures, %s classes\n' "$2" "$(find "$2/train" -type f | wc -l)" \
        "$(find "$2/test" -type f | wc -l)" "$(find "$2/train" -mindepth 1 -type d | wc -l)"
}
