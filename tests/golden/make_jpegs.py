#!/usr/bin/env python3
"""Makes tests/golden/jpegs.bin: small JPEGs of all kinds and the hash of what Pillow decodes them to.

    python3 tests/golden/make_jpegs.py tests/golden/jpegs.bin

Needs numpy and Pillow (libjpeg-turbo, slow integer DCT, fancy upsampling: its defaults). "HGJ1", the number of records (u32),
then of each: length of the name (u8), name, whether it is plain (u8: baseline, grey or YCbCr), length of the file (u32), file,
height, width (u16), channels (u8), FNV-1a of the pixels (u64). Little-endian.
"""
import io
import struct
import sys

import numpy as np
from PIL import Image

rng = np.random.default_rng(5)
out = []


def fnv(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = (h ^ b) * 0x100000001B3 % 2**64
    return h


def add(name, image, plain, **how):
    b = io.BytesIO()
    image.save(b, "JPEG", **how)
    file, pixels = b.getvalue(), np.asarray(Image.open(b).convert("RGB" if image.mode != "L" else "L"))
    h, w = pixels.shape[:2]
    out.append(struct.pack("<B", len(name)) + name.encode() + struct.pack("<BI", plain, len(file)) + file +
               struct.pack("<HHBQ", h, w, 1 if pixels.ndim == 2 else 3, fnv(pixels.tobytes())))


def picture(h, w, kind):
    y, x = np.mgrid[0:h, 0:w]
    p = np.stack([127 + 100 * np.sin(x / (5 + k) + k) * np.cos(y / (7 - k)) for k in range(3)], -1)
    if kind == "grain":
        p += rng.normal(0, 25, p.shape)
    if kind == "hard":  # the steepest there is: every sum meets its ends
        p = rng.integers(0, 2, p.shape) * 255
    return Image.fromarray(p.clip(0, 255).astype(np.uint8))


SIZES = ((1, 1), (2, 2), (3, 5), (5, 3), (7, 8), (8, 8), (9, 17), (16, 16), (17, 31), (33, 48), (40, 64), (5, 70))
KINDS = (("smooth", 90), ("grain", 75), ("hard", 100), ("hard", 20))
for sampling in ("4:4:4", "4:2:2", "4:2:0", "grey"):
    for i, (h, w) in enumerate(SIZES):
        kind, quality = KINDS[i % 4]
        image = picture(h, w, kind)
        how = {} if sampling == "grey" else {"subsampling": sampling}
        # libjpeg repeats samples of colour planes of one or two columns instead of blending them
        plain = sampling in ("grey", "4:4:4") or w > 4
        add(f"{sampling} {h} x {w} {kind} {quality}", image.convert("L") if sampling == "grey" else image, plain, quality=quality, **how)
    for kind, quality in KINDS:
        image = picture(37, 45, kind)
        how = {} if sampling == "grey" else {"subsampling": sampling}
        image = image.convert("L") if sampling == "grey" else image
        add(f"{sampling} {kind} {quality}", image, True, quality=quality, **how)
        add(f"{sampling} {kind} {quality} own tables", image, True, quality=quality, optimize=True, **how)
add("restart every MCU", picture(50, 60, "grain"), True, restart_marker_blocks=1)
add("restart every 7 MCUs", picture(70, 90, "grain"), True, restart_marker_blocks=7)
add("restart every row", picture(90, 40, "smooth"), True, restart_marker_rows=1, subsampling="4:2:2")
add("comment and EXIF", picture(20, 30, "grain"), True, comment=b"x" * 900, exif=Image.Exif())
add("ICC profile", picture(20, 30, "grain"), True, icc_profile=b"p" * 70000)
add("progressive", picture(40, 40, "grain"), False, progressive=True)
add("RGB as it is", picture(40, 40, "grain"), False, keep_rgb=True)
with open(sys.argv[1], "wb") as f:
    f.write(b"HGJ1" + struct.pack("<I", len(out)) + b"".join(out))
print(len(out), "records")
