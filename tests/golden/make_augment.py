#!/usr/bin/env python3
"""Makes tests/golden/augment.txt: what Pillow says about the colour steps of RandAugment, byte for byte.

    python3 tests/golden/make_augment.py > tests/golden/augment.txt

Needs numpy and Pillow. One line a step: name, value as hone/augment.h has it, pattern, channels, FNV-1a of the bytes
(64 bits). The pictures are the patterns of tests/test_augment.c. Magnitude 25: its factors 1 - 0.75 and 1 + 0.75 are
exact in binary, so that a float cannot fall on the other side of a whole number.
"""
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

H, W = 19, 23


def pattern(k, channels):
    h, w, c = np.meshgrid(np.arange(H), np.arange(W), np.arange(channels), indexing="ij")
    v = (h * 5 + w * 3 + c * 40 + (h * w * (k + 1)) % 37 * 2 + k * 20) % 256
    v = {0: v, 1: 60 + v % 120, 2: np.full_like(v, 77), 3: np.where(v % 3 == 0, 10, 200)}[k].astype(np.uint8)
    return Image.fromarray(v if channels == 3 else v[:, :, 0], "RGB" if channels == 3 else "L")


def fnv(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = (h ^ b) * 0x100000001B3 % 2**64
    return h


def enhance(kind):
    return lambda image, q16: kind(image).enhance(q16 / 65536)


STEPS = {
    "brightness": (enhance(ImageEnhance.Brightness), (16384, 114688)),
    "contrast": (enhance(ImageEnhance.Contrast), (16384, 114688)),
    "saturation": (enhance(ImageEnhance.Color), (16384, 114688)),
    "sharpness": (enhance(ImageEnhance.Sharpness), (16384, 114688)),
    "posterize": (lambda image, bits: ImageOps.posterize(image, bits), (5,)),
    "solarize": (lambda image, threshold: ImageOps.solarize(image, threshold), (43,)),
    "autocontrast": (lambda image, _: ImageOps.autocontrast(image), (0,)),
    "equalize": (lambda image, _: ImageOps.equalize(image), (0,)),
}

for name, (step, values) in STEPS.items():
    for value in values:
        for k in range(4):
            for channels in (1, 3):
                image = pattern(k, channels)
                print(f"{name}\t{value}\t{k}\t{channels}\t{fnv(np.asarray(step(image, value)).tobytes()):016x}")
