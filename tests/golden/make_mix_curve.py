#!/usr/bin/env python3
"""Makes tests/golden/mix_curve.json: PyTorch's losses of 20 steps of LeNet with mixup and cutmix, each half the time.

    python3 tests/golden/make_mix_curve.py > tests/golden/mix_curve.json

Net, data, weights and the file's fields are those of make_curves.py. The draws are made here again from the words of
Philox as include/hone/augment.h describes them (alpha 1: shares are uniform), the loss is PyTorch's cross-entropy of
probabilities. Seed 1, as in a page that says none.
"""
import json
import math
import sys

import torch
import torch.nn.functional as F

from make_curves import CASES, STEPS, data
from philox import fill

CLASSES = 10
SEED, STREAM = 1, 20


def philox(index, step):
    """The four words of one draw (Salmon et al. 2011)."""
    c = [index & 0xFFFFFFFF, index >> 32, step & 0xFFFFFFFF, step >> 32]
    k = [SEED & 0xFFFFFFFF, SEED >> 32 ^ STREAM]
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [q >> 32 ^ c[1] ^ k[0], q & 0xFFFFFFFF, p >> 32 ^ c[3] ^ k[1], p & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def mixture(sample, epoch, size):
    """Own share of the label, and what of the picture is the other's: a weight, or a box (top, bottom, left, right)."""
    word = philox(sample, epoch)
    u = word[2] >> 8
    own = 32768 + 64 * (u >> 15) + (64 * (u & 32767) >> 15)
    if not word[1] >> 31:
        return own / 65536, None
    at = philox(sample, epoch | 1 << 32)
    side = size * math.isqrt((65536 - own) << 32) >> 24
    top, left = ((at[k] * size >> 32) - side // 2 for k in range(2))
    box = max(top, 0), min(top + side, size), max(left, 0), min(left + side, size)
    return 1 - (box[1] - box[0]) * (box[3] - box[2]) / size**2, box


def mixed(x, y, first, epoch):
    """A batch of (N, C, H, W) and its targets (N, CLASSES), each sample with the next, the last with the first."""
    images, targets = x.clone(), torch.zeros(len(y), CLASSES, dtype=x.dtype)
    for n in range(len(y)):
        share, box = mixture(first + n, epoch, x.shape[-1])
        other = (n + 1) % len(y)
        if box is None:
            images[n] = share * x[n] + (1 - share) * x[other]
        else:
            images[n, :, box[0]:box[1], box[2]:box[3]] = x[other, :, box[0]:box[1], box[2]:box[3]]
        targets[n, y[n]] += share
        targets[n, y[other]] += 1 - share
    return images, targets


def run(make, channels, size, batch, opt, smoothing, dtype):
    net = make().to(dtype).train()
    with torch.no_grad():
        for name, v in net.state_dict().items():
            v.copy_(fill(name, tuple(v.shape)))
    x, y = data(channels, size, STEPS // 2 * batch)
    x = x.to(dtype)
    optimizer = torch.optim.SGD(net.parameters(), lr=opt["lr"], momentum=opt["momentum"])
    losses = []
    for step in range(STEPS):
        k = step % (STEPS // 2) * batch
        images, targets = mixed(x[k:k + batch], y[k:k + batch], k, step // (STEPS // 2))
        loss = F.cross_entropy(net(images), targets, label_smoothing=smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, {n: list(v.shape) for n, v in net.state_dict().items()}


def main():
    _, make, channels, size, batch, _, _, _, _ = next(c for c in CASES if c[0] == "lenet-sgd")
    opt = dict(name="sgd", lr=0.1, momentum=0.9, nesterov=False, weight_decay=0)
    losses, shapes = run(make, channels, size, batch, opt, 0.1, torch.float32)
    exact, _ = run(make, channels, size, batch, opt, 0.1, torch.float64)
    drift = max(abs(a - b) / abs(b) for a, b in zip(losses, exact))
    print(f"first {losses[0]:.6f} last {losses[-1]:.6f} float drift {drift:.1e}", file=sys.stderr)
    json.dump(dict(channels=channels, size=size, batch=batch, optimizer=opt, smoothing=0.1, weights=None, clip=0,
                   losses=losses, exact=exact, drift=drift, shapes=shapes), sys.stdout, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
