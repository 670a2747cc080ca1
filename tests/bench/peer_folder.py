#!/usr/bin/env python3
"""What a sensibly tuned PyTorch script reaches on a folder of pictures, beside `hone init` and `hone train` with no edit.

usage: peer_folder.py FOLDER [--size 64] [--epochs 40 | --seconds 150] [--threads 1] [--settings sgd,adamw,strong] [--json FILE]

FOLDER/{train,test}/CLASS/IMAGE. A tenth of each class of train validates. A small residual net (3 x 3 stem, three to four
stages, batchnorm, kaiming) is trained once a setting, cosine schedule with a warm-up, label smoothing 0.1, weight decay,
flips and shifted crops; pictures are composed on white and resized once. The setting with the best validation accuracy is
the answer, and its accuracy on test, with a 95 % interval (Wilson), what counts:
  sgd     SGD 0.03 (batch 32) with Nesterov momentum, decay 5e-4
  adamw   AdamW 2e-3, decay 0.05
  strong  SGD as above, with resized crops (0.4 to 1) and colour jitter
--seconds: as many epochs as fit into that much CPU time (the speed of the first steps tells); each setting has that time.
"""
import argparse
import json
import math
import pathlib
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image
from torchvision import transforms
from torchvision.transforms import v2

SETTINGS = {"sgd": dict(lr=0.03, decay=5e-4), "adamw": dict(lr=2e-3, decay=0.05, adamw=True),
            "strong": dict(lr=0.03, decay=5e-4, strong=True)}
BATCH = 32


def load(folder, size):
    """(N, 3, size, size) of uint8, labels, class names: the shorter side scaled, the middle cut out."""
    fit = transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size)])
    names = sorted(p.name for p in (folder / "train").iterdir())
    out = {}
    for split in ("train", "test"):
        pixels, labels = [], []
        for k, name in enumerate(names):
            for file in sorted((folder / split / name).glob("*")):
                picture = Image.open(file).convert("RGBA")
                white = Image.new("RGBA", picture.size, "white")
                picture = fit(Image.alpha_composite(white, picture).convert("RGB"))
                pixels.append(v2.functional.pil_to_tensor(picture))
                labels.append(k)
        out[split] = torch.stack(pixels), torch.tensor(labels)
    return out, names


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                               nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        return F.relu(x + self.f(x))


def make_net(classes, size):
    widths = [32, 48, 96, 128, 192]
    downs = max(1, min(4, int(math.log2(size / 8))))
    layers = [nn.Conv2d(3, 32, 3, stride=2 if size > 64 else 1, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
    for k in range(1, downs + 1):
        layers += [nn.Conv2d(widths[k - 1], widths[k], 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(widths[k]), nn.ReLU()]
        if k + 1 >= downs:
            layers.append(Block(widths[k]))
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(widths[downs], classes))
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
    return net.to(memory_format=torch.channels_last)


def augmentation(size, strong):
    if strong:
        return v2.Compose([v2.RandomResizedCrop(size, scale=(0.4, 1), antialias=True), v2.RandomHorizontalFlip(),
                           v2.ColorJitter(0.3, 0.3, 0.3)])
    return v2.Compose([v2.RandomCrop(size, padding=size // 8), v2.RandomHorizontalFlip()])


def accuracy(net, x, y, normal):
    net.eval()
    with torch.no_grad():
        hit = sum((net(normal(x[i:i + 256])).argmax(1) == y[i:i + 256]).sum().item() for i in range(0, len(x), 256))
    return hit / len(x)


def train(data, classes, size, how, args, seed=1):
    """(validation accuracy, test accuracy, epochs, seconds) of one setting."""
    torch.manual_seed(seed)
    x, y = data["train"]
    in_val = torch.zeros(len(x), dtype=torch.bool)
    for k in range(classes):
        at = (y == k).nonzero()[:, 0]
        in_val[at[torch.randperm(len(at))[:round(len(at) / 10)]]] = True
    xt, yt = x[~in_val], y[~in_val]
    mean = (xt.float() / 255).mean((0, 2, 3)).view(1, 3, 1, 1)
    std = (xt.float() / 255).std((0, 2, 3)).view(1, 3, 1, 1)

    def normal(v):
        return ((v.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)

    net = make_net(classes, size)
    groups = [dict(params=[p for p in net.parameters() if p.ndim > 1], weight_decay=how["decay"]),
              dict(params=[p for p in net.parameters() if p.ndim <= 1], weight_decay=0)]
    optimizer = (torch.optim.AdamW(groups, lr=how["lr"]) if how.get("adamw") else
                 torch.optim.SGD(groups, lr=how["lr"], momentum=0.9, nesterov=True))
    augment, steps = augmentation(size, how.get("strong")), math.ceil(len(xt) / BATCH)
    epochs, start, done = args.epochs, time.process_time(), 0
    for epoch in range(10**6):
        if epochs and epoch == epochs:
            break
        net.train()
        order = torch.randperm(len(xt))
        for i in range(0, len(xt), BATCH):
            if not epochs and done == 12:  # two are warm-up
                epochs = max(2, int(args.seconds / ((time.process_time() - begun) / 10 * steps)))
            if done == 2:
                begun = time.process_time()
            at = order[i:i + BATCH]
            total, warm = (epochs or 1000) * steps, steps
            rate = min(1, (done + 1) / warm) * 0.5 * (1 + math.cos(math.pi * min(1, done / total)))
            for g in optimizer.param_groups:
                g["lr"] = how["lr"] * rate
            batch = normal(torch.stack([augment(v) for v in xt[at]]))
            loss = F.cross_entropy(net(batch), yt[at], label_smoothing=0.1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            done += 1
    seconds = time.process_time() - start
    xv, yv = x[in_val], y[in_val]
    return accuracy(net, xv, yv, normal), accuracy(net, *data["test"], normal), epochs, seconds


def wilson(p, n, z=1.96):
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("--size", type=int, default=64)
    p.add_argument("--epochs", type=int, default=0)
    p.add_argument("--seconds", type=float, default=150)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--settings", default=",".join(SETTINGS))
    p.add_argument("--json")
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    data, names = load(args.folder, args.size)
    n = len(data["test"][1])
    print(f"{args.folder}: {len(data['train'][1])} train, {n} test, {len(names)} classes; {args.size} px, PyTorch {torch.__version__}", flush=True)
    rows = {}
    for name in args.settings.split(","):
        val, test, epochs, seconds = train(data, len(names), args.size, SETTINGS[name], args)
        low, high = wilson(test, n)
        rows[name] = dict(val=val, test=test, low=low, high=high, epochs=epochs, seconds=seconds)
        print(f"{name}: validation {val:.4f}, test {test:.4f} (95 % {low:.3f} to {high:.3f}), {epochs} epochs, {seconds:.0f} s", flush=True)
    best = max(rows, key=lambda k: rows[k]["val"])
    print(f"best on validation: {best}, test {rows[best]['test']:.4f}")
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(dict(best=best, n=n, rows=rows), indent=1) + "\n")


if __name__ == "__main__":
    main()
