#!/usr/bin/env python3
"""Writes starting corpora for the fuzz targets of data: the files of tests/golden/images.bin, and small IDX sets.

usage: fuzz_seeds.py FOLDER        makes FOLDER/fuzz_image/ and FOLDER/fuzz_idx/
"""
import gzip
import pathlib
import struct
import sys

root = pathlib.Path(sys.argv[1])
for name in ("fuzz_image", "fuzz_idx"):
    (root / name).mkdir(parents=True, exist_ok=True)
data = (pathlib.Path(__file__).parent.parent / "golden" / "images.bin").read_bytes()
at = 8
for k in range(struct.unpack("<I", data[4:8])[0]):
    name_bytes = data[at + 1]
    size, = struct.unpack_from("<I", data, at + 2 + name_bytes)
    file = data[at + 6 + name_bytes:at + 6 + name_bytes + size]
    if size and size < 4096:
        (root / "fuzz_image" / str(k)).write_bytes(file)
    at += 6 + name_bytes + size
    h, w, c = struct.unpack_from("<HHB", data, at)
    at += 5 + h * w * c
labels = b"\0\0\x08\x01" + struct.pack(">I", 3) + b"\0\1\2"
images = b"\0\0\x08\x03" + struct.pack(">III", 3, 2, 2) + bytes(12)
for name, a, b in (("plain", labels, images), ("gzip", gzip.compress(labels, mtime=0), gzip.compress(images, mtime=0)), ("mixed", labels, gzip.compress(images, mtime=0))):
    cut = next((v for v in range(256) if v * (len(a) + len(b)) // 255 == len(a)), 128)  # share of the labels file
    (root / "fuzz_idx" / name).write_bytes(bytes([cut]) + a + b)
