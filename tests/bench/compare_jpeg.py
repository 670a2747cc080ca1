#!/usr/bin/env python3
"""A folder of JPEGs through hone's loader beside PyTorch's DataLoader with torchvision, interleaved in one run.

usage: compare_jpeg.py --hone build/release/hone [--files 384] [--rounds 6] [--threads 2] [--folder DIR] [--json FILE]

Makes a folder of JPEGs of 500 x 375 (4:2:0, about 100 KB each: photographs' waves, shapes and grain), the size of ImageNet's
median. Both sides read, decode and resize all of them, epoch after epoch, in a shuffled order, to batches of 64 of uint8:
 - stretch: to 224 x 224;
 - shorter: the shorter side to 224, then the middle 224 x 224 (hone keeps no margin between the two).
hone: `hone data bench` with --threads decode threads. PyTorch: a DataLoader with as many worker processes, in two ways, of
which the quicker counts: PIL and transforms.Resize to PILToTensor, and torchvision.io's read_file and decode_jpeg with v2's
antialiased Resize. Blocks alternate hone, variant, hone, ...; a ratio is that of a block of PyTorch to the mean of hone's
blocks right before and behind it. Prints a markdown table: median, least to greatest, n; of the ratios median and quartiles.
"""
import argparse
import io
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

H, W, SIZE, BATCH = 375, 500, 224, 64
VARIANTS = ("PIL", "decode_jpeg")


def make_folder(folder, count):
    """`count` JPEGs of two classes; the grain is scaled until a file weighs about 100 KB."""
    import numpy as np
    from PIL import Image

    def draw(rng, grain):
        y, x = np.mgrid[0:H, 0:W].astype(np.float32)
        p = np.full((H, W, 3), 120, np.float32)
        for _ in range(6):
            a, b, c, d = rng.uniform(0, 1, 4)
            for k in range(3):
                p[..., k] += 25 * np.sin(6.28 * (a * 4 * y / H + b * 4 * x / W + c + d * k))
        for _ in range(25):
            top, left, h, w = int(rng.integers(0, H)), int(rng.integers(0, W)), int(rng.integers(8, 120)), int(rng.integers(8, 160))
            p[top:top + h, left:left + w] = 0.3 * p[top:top + h, left:left + w] + 0.7 * rng.uniform(0, 255, 3)
        fine = rng.normal(0, 1, (H, W, 1)) + rng.normal(0, 0.4, (H, W, 3))
        return (p + grain * fine).clip(0, 255).astype(np.uint8)

    def encode(picture):
        b = io.BytesIO()
        Image.fromarray(picture).save(b, "JPEG", quality=90)
        return b.getvalue()

    grain, sizes = 12.0, []
    for i in range(count):
        data = encode(draw(np.random.default_rng(i), grain))
        grain *= (100_000 / len(data)) ** 0.5  # the next one's
        path = folder / "train" / ("even", "odd")[i % 2] / f"{i:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        sizes.append(len(data))
    return sizes


class Files:
    """The data set of PyTorch's side."""

    def __init__(self, folder, variant, how):
        self.files = sorted(str(p) for p in pathlib.Path(folder).rglob("*.jpg"))
        self.variant, self.how = variant, how
        self.transform = None

    def __len__(self):
        return len(self.files)

    def make_transform(self):
        from torchvision import transforms
        from torchvision.transforms import v2

        size = (SIZE, SIZE) if self.how == "stretch" else SIZE
        t = transforms if self.variant == "PIL" else v2
        steps = [t.Resize(size, antialias=True)] + ([t.CenterCrop(SIZE)] if self.how == "shorter" else [])
        return t.Compose(steps + ([t.PILToTensor()] if self.variant == "PIL" else []))

    def __getitem__(self, i):
        if self.transform is None:
            self.transform = self.make_transform()
        if self.variant == "PIL":
            from PIL import Image

            return self.transform(Image.open(self.files[i]).convert("RGB")), i % 2
        from torchvision.io import ImageReadMode, decode_jpeg, read_file

        return self.transform(decode_jpeg(read_file(self.files[i]), mode=ImageReadMode.RGB)), i % 2


def worker(folder, variant, how, threads):
    """Each line of input: pictures a second over one epoch, as a line of JSON."""
    import torch

    torch.set_num_threads(1)  # the work is in the worker processes, which have one each as well
    loader = torch.utils.data.DataLoader(Files(folder, variant, how), batch_size=BATCH, shuffle=True, num_workers=threads,
                                         persistent_workers=True, prefetch_factor=4)
    for _ in sys.stdin:
        start, n = time.perf_counter(), 0
        for pixels, _ in loader:
            n += len(pixels)
        print(json.dumps(dict(rate=n / (time.perf_counter() - start))), flush=True)


def ask(process):
    process.stdin.write("epoch\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("the PyTorch process ended; see its messages above")
    return json.loads(line)["rate"]


def hone_block(args, page):
    out = subprocess.run([args.hone, "data", "bench", page, "--seconds", "1", "--threads", str(args.threads), "--json"],
                         capture_output=True, text=True)
    if out.returncode:
        raise RuntimeError(f"hone data bench failed:\n{out.stderr}")
    return json.loads(out.stdout)["samples_per_second"]


def write_page(folder, how):
    """A page as a user has it; the net behind it is never built."""
    page = folder / f"{how}.yaml"
    page.write_text(f"task: image\ndata: {{path: {json.dumps(str(folder))}}}\nimage: {{size: {SIZE}, channels: 3, resize: {how}}}\n"
                    f"model: {{layers: [global_avgpool, linear: classes]}}\ntrain: {{batch: {BATCH}}}\n")
    return str(page)


def race(how, folder, args):
    page = write_page(folder, how)
    workers = {v: subprocess.Popen([sys.executable, __file__, "--worker", str(folder), v, how, "--threads", str(args.threads)],
                                   text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for v in VARIANTS}
    for p in workers.values():
        ask(p)  # warm-up: imports, page cache
    ours, theirs = [hone_block(args, page)], {v: [] for v in workers}
    ratio = {v: [] for v in workers}
    for _ in range(args.rounds):
        for v, p in workers.items():
            theirs[v].append(ask(p))
            ours.append(hone_block(args, page))
            ratio[v].append((ours[-1] + ours[-2]) / 2 / theirs[v][-1])
    for p in workers.values():
        p.stdin.close()
        p.wait()
    best = min(ratio, key=lambda v: statistics.median(ratio[v]))
    print(f"\n### {how}: hone / best PyTorch ({best}) = {statistics.median(ratio[best]):.2f}\n")
    print("| who | pictures/s median | least to greatest | n | hone is quicker by: median (middle half) |")
    print("|---|---|---|---|---|")
    for v, r in [("hone", ours), *theirs.items()]:
        q = statistics.quantiles(ratio[v], n=4) if v in ratio and len(ratio[v]) > 1 else None
        print(f"| {v} | {statistics.median(r):,.0f} | {min(r):,.0f} to {max(r):,.0f} | {len(r)} | "
              f"{f'{q[1]:.2f} ({q[0]:.2f} to {q[2]:.2f})' if q else ''} |")
    sys.stdout.flush()
    return dict(how=how, best=best, ratio=statistics.median(ratio[best]), hone=ours, torch=theirs)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--hone", default="build/release/hone")
    p.add_argument("--files", type=int, default=384)
    p.add_argument("--rounds", type=int, default=6)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--folder")
    p.add_argument("--how", default="stretch,shorter")
    p.add_argument("--json")
    p.add_argument("--worker", nargs=3)
    args = p.parse_args()
    if args.worker:
        return worker(*args.worker, args.threads)
    import torch
    import torchvision

    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(args.folder or scratch)
        if not list(folder.rglob("*.jpg")):
            make_folder(folder, args.files)
        sizes = [f.stat().st_size for f in folder.rglob("*.jpg")]
        cpu = next((x.split(":")[1].strip() for x in open("/proc/cpuinfo") if x.startswith("model name")), "unknown CPU")
        print(f"{time.strftime('%Y-%m-%d')}, {cpu}, {args.threads} threads or workers, PyTorch {torch.__version__}, torchvision "
              f"{torchvision.__version__}, load {os.getloadavg()[0]:.1f} at start; {len(sizes)} JPEGs of {W} x {H}, "
              f"{statistics.median(sizes) / 1000:.0f} KB in the median ({min(sizes) / 1000:.0f} to {max(sizes) / 1000:.0f})")
        results = [race(how, folder, args) for how in args.how.split(",")]
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
