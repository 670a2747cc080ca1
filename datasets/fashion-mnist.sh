#!/usr/bin/env bash
# fashion-mnist.sh - brings Fashion-MNIST to datasets/fashion-mnist/ from Debian's and Ubuntu's package
# dataset-fashion-mnist: 60,000 training and 10,000 test images, 28 x 28 grey, ten classes.
# Run it as often as you like; what is there and whole is left as it is.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=$here/fashion-mnist
package=dataset-fashion-mnist
files=(train-images-idx3-ubyte.gz train-labels-idx1-ubyte.gz t10k-images-idx3-ubyte.gz t10k-labels-idx1-ubyte.gz)

die() { printf 'fashion-mnist.sh: %s\n' "$*" >&2; exit 1; }
whole() { [ -s "$1" ] && gzip -t "$1" 2>/dev/null; } # exists, and its checksum is right

complete() {
    local f
    for f in "${files[@]}"; do whole "$1/$f" || return 1; done
}

# Prints the folder that holds the package's files, installing or unpacking the package if need be.
bring_package() {
    local installed=/usr/share/datasets/fashion-mnist
    if complete "$installed"; then echo "$installed"; return; fi
    command -v apt-get >/dev/null || die "no apt-get here: put ${files[*]} (from github.com/zalandoresearch/fashion-mnist) into $target yourself"
    if [ "$(id -u)" -eq 0 ]; then
        { apt-get install -y -qq --no-install-recommends "$package" ||
            { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$package"; }; } >&2 ||
            die "apt-get install $package failed (it is in Debian 12 and Ubuntu 22.04 'universe', and later)"
        complete "$installed" || die "$package is installed, but $installed is not complete; try: apt-get install --reinstall $package"
        echo "$installed"
        return
    fi
    # without root the package is only downloaded and unpacked, not installed
    command -v dpkg-deb >/dev/null || die "not root and no dpkg-deb: ask for apt-get install $package"
    (cd "$scratch" && apt-get download -q "$package") >&2 || die "apt-get download $package failed; try apt-get update as root first"
    dpkg-deb -x "$scratch"/"$package"_*.deb "$scratch/unpacked" || die "could not unpack the package"
    echo "$scratch/unpacked$installed"
}

write_names() { # class names, one a line, in the order of the labels (Xiao, Rasul, Vollgraf 2017)
    printf '%s\n' T-shirt/top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag 'Ankle boot' >"$1"
}

if complete "$target" && [ -s "$target/labels.txt" ]; then
    echo "$target is there"
    exit 0
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
source=$(bring_package)
complete "$source" || die "$source is not complete"
mkdir -p "$target"
for f in "${files[@]}"; do
    cp "$source/$f" "$target/.$f.new" && mv "$target/.$f.new" "$target/$f" # never half a file under the final name
done
write_names "$target/.labels.new" && mv "$target/.labels.new" "$target/labels.txt"
complete "$target" || die "copying to $target went wrong (disk full?)"
echo "$target is ready: 60000 training and 10000 test images"
