#!/usr/bin/env python3
"""Logits of torchvision's and timm's nets on weights that a formula makes: tests/golden/import.txt.

usage: make_import.py > import.txt      needs torch, torchvision, timm
tests/test_import.c makes the same weights by the same formula, imports them and wants these logits. Running statistics,
scales and biases are all away from their defaults, so that nothing is right by luck. A line:
    FILE-ARCHITECTURE side classes head_scale logits...   (2 pictures x classes)
"""
import zlib

import numpy as np
import timm
import torch
import torchvision

CLASSES, PICTURES = 5, 2
NETS = [("resnet18", 64), ("resnet34", 64), ("resnet50", 64), ("mobilenet_v2", 64), ("timm/resnet18", 48), ("timm/vit_small_patch16_224", 224)]


def hashed(seed, count):
    h = np.arange(count, dtype=np.uint64) * 2654435761 + np.uint64(seed) * 40503 + 12345
    h &= 0xFFFFFFFF
    h ^= h >> np.uint64(16)
    h = h * 2246822519 & 0xFFFFFFFF
    return h ^ h >> np.uint64(13)


def fill(name, shape, head_scale):
    count = int(np.prod(shape, dtype=np.int64))
    u = hashed(zlib.crc32(name.encode()), count) / 4294967296.0
    if name.endswith("running_var"):
        v = 0.5 + 1.5 * u
    elif name.endswith("running_mean"):
        v = 0.6 * (u - 0.5)
    elif name in ("cls_token", "pos_embed"):
        v = 0.6 * (u - 0.5)
    elif len(shape) > 1:
        v = (u - 0.5) * 2 * np.sqrt(3.0 / (count // shape[0])) * (head_scale if shape[0] == CLASSES else 1)
    elif name.endswith("weight"):
        v = 0.5 + 0.7 * u
    else:
        v = 0.4 * (u - 0.5)
    return torch.tensor(v.reshape(shape).astype(np.float32))


def logits(net, side, head_scale):
    with torch.no_grad():
        for name, x in net.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                x.copy_(fill(name, tuple(x.shape), head_scale))
        pixels = np.stack([(hashed(k, side * side * 3) & 255).reshape(side, side, 3) for k in range(PICTURES)])
        x = torch.tensor(pixels.astype(np.float64) / 255).permute(0, 3, 1, 2).to(net.double().parameters().__next__().dtype)
        mean, std = torch.tensor([0.4, 0.45, 0.5]).double().view(1, 3, 1, 1), torch.tensor([0.25, 0.2, 0.3]).double().view(1, 3, 1, 1)
        return net.eval()((x - mean) / std).numpy()


def main():
    for name, side in NETS:
        make = (lambda: timm.create_model(name[5:], num_classes=CLASSES)) if name.startswith("timm/") else (
            lambda: torchvision.models.get_model(name, num_classes=CLASSES))
        spread = np.ptp(logits(make(), side, 1.0), axis=1).max()
        scale = float(np.float32(6.0 / spread))
        y = logits(make(), side, scale)
        print(name, side, CLASSES, f"{scale:.9g}", *(f"{v:.9g}" for v in y.ravel()))


main()
