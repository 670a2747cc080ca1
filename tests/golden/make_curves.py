#!/usr/bin/env python3
"""Makes curves.json: PyTorch's losses over the first 20 steps of four nets, which tests/test_curves.c
must follow to 1e-4 at each step.

usage: make_curves.py > curves.json        needs torch, torchvision, numpy, pillow; the test needs none

Nothing large is committed: weights, pixels and labels are drawn on both sides from Philox4x32-10 (the
generator of include/hone/philox.h), keyed by the FNV-1a hash of the parameter's name. Case names say
net and optimizer; every case has label smoothing, class weights and weight decay in some combination.
"""
import json
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision
from PIL import Image

from philox import fill, philox_uniform

torch.use_deterministic_algorithms(True)
STEPS, CLASSES = 20, 10


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.linear1, self.linear2, self.linear3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, CLASSES)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2).flatten(1)
        return self.linear3(F.relu(self.linear2(F.relu(self.linear1(x)))))


def resnet18():
    net = torchvision.models.resnet18(num_classes=CLASSES)
    net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    net.maxpool = nn.Identity()
    return net


def mobilenet():
    return torchvision.models.mobilenet_v2(num_classes=CLASSES, dropout=0.0)


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, c))


class Mlp(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim, eps=1e-6), Attention(dim, heads)
        self.norm2, self.mlp = nn.LayerNorm(dim, eps=1e-6), Mlp(dim, 4 * dim)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """timm's names: cls_token, pos_embed, patch_embed.proj, blocks.N.*, norm, head."""

    def __init__(self, size, patch, dim, depth, heads):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, (size // patch) ** 2 + 1, dim))
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, dim, patch, patch)
        self.blocks = nn.Sequential(*[Block(dim, heads) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, CLASSES)

    def forward(self, x):
        x = self.patch_embed.proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


def data(channels, size, samples):
    """uint8 pixels and labels; RGB is drawn at 32x32 and resized as Pillow does."""
    base = 28 if channels == 1 else 32
    u = philox_uniform(1234, 78, samples * channels * base * base)
    # A class-dependent brightness, so that there is something to learn.
    labels = (philox_uniform(1234, 79, samples) * np.float32(CLASSES)).astype(np.int64)
    pixels = (u * np.float32(200)).astype(np.uint8).reshape(samples, channels, base, base)  # planar, as CIFAR's files
    pixels[np.arange(samples), 0, labels, :] = 255
    if size != base:
        pixels = np.stack([np.asarray(Image.fromarray(p.transpose(1, 2, 0)).resize((size, size), Image.BILINEAR)).transpose(2, 0, 1)
                           for p in pixels])
    x = (torch.from_numpy(pixels.copy()).float() / 255 - 0.45) / 0.25
    return x, torch.from_numpy(labels)


SGD = dict(name="sgd", lr=0.02, momentum=0.9, weight_decay=5e-4)
NESTEROV = dict(SGD, nesterov=True)
ADAMW = dict(name="adamw", lr=1e-3, weight_decay=0.05)
WEIGHTS = [0.5, 1.0, 1.5, 2.0, 0.75, 1.25, 1.0, 3.0, 1.0, 0.25]
CASES = [  # name, net, channels, size, batch, optimizer, smoothing, class weights, clip
    ("lenet-sgd", LeNet, 1, 28, 32, dict(SGD, lr=0.1), 0.1, None, 0),
    ("lenet-nesterov-weights", LeNet, 1, 28, 32, dict(NESTEROV, lr=0.05), 0.1, WEIGHTS, 0),
    ("lenet-adamw", LeNet, 1, 28, 32, ADAMW, 0.0, WEIGHTS, 1.0),
    # Rates and clipping of the BN nets are small on purpose: at ordinary ones float32 leaves float64 by more than
    # the tolerance within 20 steps on noise data (measured: 2e-2 for MobileNetV2), so a comparison would prove nothing.
    ("resnet18-sgd", resnet18, 3, 32, 16, dict(NESTEROV, lr=2e-4), 0.1, None, 0),
    ("resnet18-adamw", resnet18, 3, 32, 16, dict(ADAMW, lr=1e-5), 0.1, WEIGHTS, 0),
    ("mobilenet-sgd", mobilenet, 3, 64, 32, dict(SGD, lr=1e-4), 0.1, None, 1.0),
    ("mobilenet-adamw", mobilenet, 3, 64, 32, dict(ADAMW, lr=2e-6), 0.0, WEIGHTS, 0),
    ("vit-sgd", lambda: ViT(32, 8, 192, 12, 3), 3, 32, 16, SGD, 0.1, WEIGHTS, 1.0),
    ("vit-adamw", lambda: ViT(32, 8, 192, 12, 3), 3, 32, 16, ADAMW, 0.1, None, 0),
]


def no_decay(name, p):
    return p.ndim == 1  # biases and norm parameters; hone spares the same ones


def train(net, logits, labels, opt, smoothing, weights, clip, dtype):
    """20 steps over ten batches, twice; logits(k) and labels(k) of batch k."""
    groups = [dict(params=[p for n, p in net.named_parameters() if not no_decay(n, p)], weight_decay=opt["weight_decay"]),
              dict(params=[p for n, p in net.named_parameters() if no_decay(n, p)], weight_decay=0.0)]
    if opt["name"] == "sgd":
        optimizer = torch.optim.SGD(groups, lr=opt["lr"], momentum=opt["momentum"], nesterov=opt.get("nesterov", False))
    else:
        optimizer = torch.optim.AdamW(groups, lr=opt["lr"])
    w = torch.tensor(weights, dtype=dtype) if weights else None
    losses = []
    for step in range(STEPS):
        k = step % (STEPS // 2)
        loss = F.cross_entropy(logits(k), labels(k), weight=w, label_smoothing=smoothing)
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
        losses.append(loss.item())
    return losses


def run(make, channels, size, batch, opt, smoothing, weights, clip, dtype=torch.float32):
    torch.manual_seed(0)
    net = make().to(dtype).train()
    with torch.no_grad():
        for name, v in net.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                v.copy_(fill(name, tuple(v.shape)))
    x, y = data(channels, size, STEPS // 2 * batch)  # two epochs of ten batches, in file order
    x = x.to(dtype)
    losses = train(net, lambda k: net(x[k * batch:(k + 1) * batch]), lambda k: y[k * batch:(k + 1) * batch], opt, smoothing,
                   weights, clip, dtype)
    shapes = {n: list(v.shape) for n, v in net.state_dict().items() if not n.endswith("num_batches_tracked")}
    return losses, shapes


def main():
    out = {}
    for name, make, channels, size, batch, opt, smoothing, weights, clip in CASES:
        losses, shapes = run(make, channels, size, batch, opt, smoothing, weights, clip)
        exact, _ = run(make, channels, size, batch, opt, smoothing, weights, clip, torch.float64)
        # How far float32 itself drifts from float64: a case that drifts near the tolerance proves nothing.
        drift = max(abs(a - b) / abs(b) for a, b in zip(losses, exact))
        print(f"{name}: first {losses[0]:.6f} last {losses[-1]:.6f} float drift {drift:.1e}", file=sys.stderr)
        out[name] = dict(channels=channels, size=size, batch=batch, optimizer=opt, smoothing=smoothing,
                         weights=weights, clip=clip, losses=losses, exact=exact, drift=drift, shapes=shapes)
    json.dump(dict(torch=torch.__version__, steps=STEPS, cases=out), sys.stdout, indent=None, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
