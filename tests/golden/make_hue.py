#!/usr/bin/env python3
"""Makes tests/golden/hue.txt: what torchvision's adjust_hue says about single pixels.

    python3 tests/golden/make_hue.py > tests/golden/hue.txt

Needs torch and torchvision. One line: red, green, blue, turn (Q16, -32768 to 32768), and the three that come out. The tensor
form is taken, which works in float: Pillow keeps hue and saturation in bytes and is off by up to 6 of 255.
"""
import torch
from torchvision.transforms.v2 import functional

torch.manual_seed(3)
pixels = torch.randint(0, 256, (240, 3), dtype=torch.uint8)
pixels[:8] = torch.tensor([[0, 0, 0], [255, 255, 255], [77, 77, 77], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [1, 0, 0]])
pixels[8:40, 1] = pixels[8:40, 0]  # two greatest or two least
for turn in (-32768, -20000, -6554, -655, 0, 655, 6554, 20000, 32768):
    out = functional.adjust_hue(pixels.T.reshape(3, -1, 1), turn / 65536).reshape(3, -1).T
    for a, b in zip(pixels.tolist(), out.tolist()):
        print(*a, turn, *b)
