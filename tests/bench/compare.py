#!/usr/bin/env python3
"""Whole training steps of hone beside PyTorch on this machine's CPU, interleaved in one run.

usage: compare.py --hone build/release/hone [--models mlp,lenet,resnet18-cifar] [--rounds 5] [--json FILE]

Both sides train the same net in fp32 on random data at the same batch with SGD (momentum, weight
decay), all work of a step included. PyTorch runs as eager, channels_last, compile and compile with
channels_last, each in a process of its own (peak memory is that process's); "best" is the best of
their ratios. Blocks alternate hone, torch variant, hone, ...; a ratio is that of a block of PyTorch to the mean of hone's
blocks right before and behind it, so that a machine whose speed changes by the second (shared cores, shared caches)
changes both sides. A process keeps the pages that it got, lucky or not: hone's is new for each block, PyTorch's for each
sitting. Prints a markdown table: median, spread (min to max) over the blocks, n; of the ratios the median and
the middle half; the headline is the variant with the smallest median ratio.
"""
import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

MODELS = {  # config, batch, shape of one sample, steps of one block
    "mlp": ("configs/bench/mlp.yaml", 256, (28, 28, 1), 100),
    "lenet": ("configs/bench/lenet.yaml", 256, (28, 28, 1), 120),
    "resnet18-cifar": ("configs/bench/resnet18-cifar.yaml", 64, (32, 32, 3), 4),
}
VARIANTS = ("eager", "channels_last", "compile", "compile+channels_last")
WITHOUT_CHANNELS = ("mlp",)  # there channels_last is the same code, and the best of twins is biased


def torch_net(model):
    import torch.nn as nn
    import torchvision

    if model == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    if model == "lenet":
        return nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
                             nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
                             nn.Linear(84, 10))
    net = torchvision.models.resnet18(num_classes=10)
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return net


def worker(model, variant, threads):
    """Reads 'block N' lines, answers one JSON line with the seconds of each of N steps."""
    start = time.perf_counter()
    import torch

    torch.set_num_threads(threads)
    _, batch, (h, w, c), _ = MODELS[model]
    fmt = torch.channels_last if "channels_last" in variant else torch.contiguous_format
    net = torch_net(model).train().to(memory_format=fmt)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, foreach=True)
    loss_of = torch.nn.CrossEntropyLoss()
    pool = torch.randint(0, 256, (8192 if model != "resnet18-cifar" else 1024, c, h, w), dtype=torch.uint8).to(memory_format=fmt)
    label = torch.randint(0, 10, (len(pool),))

    def forward_backward(x, y):
        loss = loss_of(net(x), y)
        loss.backward()
        return loss

    run = torch.compile(forward_backward, mode="max-autotune") if "compile" in variant else forward_backward

    def step(k):
        at = torch.arange(k * batch, (k + 1) * batch) % len(pool)
        x = pool[at].float().div_(255).sub_(0.5).to(memory_format=fmt)
        optimizer.zero_grad(set_to_none=True)
        loss = run(x, label[at])
        optimizer.step()
        return loss

    first = None
    for line in sys.stdin:
        count = int(line.split()[1])
        seconds = []
        for k in range(count):
            t = time.perf_counter()
            step(k)
            seconds.append(time.perf_counter() - t)
            if first is None:
                first = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(dict(seconds=seconds, first=first, peak=peak)), flush=True)


def ask(process, count):
    process.stdin.write(f"block {count}\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("the PyTorch process ended; see its messages above")
    return json.loads(line)


def hone_block(binary, config, steps, threads):
    out = subprocess.run([binary, "bench", config, "--steps", str(steps), "--threads", str(threads), "--json"],
                         capture_output=True, text=True)
    if out.returncode:
        raise RuntimeError(f"hone bench failed:\n{out.stderr}")
    return json.loads(out.stdout)


def start_workers(model, variants, args, steps):
    workers = {v: subprocess.Popen([sys.executable, __file__, "--worker", model, v, "--threads", str(args.threads)], text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE) for v in variants}
    for p in workers.values():
        ask(p, max(3, steps // 4))  # warm-up, compilation included
    return workers


def sitting(model, variants, rounds, args, rows):
    """`rounds` blocks of each variant, hone's before, between and behind them; all processes are new."""
    config, batch, _, steps = MODELS[model]
    workers = start_workers(model, variants, args, steps)
    hone_block(args.hone, config, max(3, steps // 4), args.threads)

    def ours_once():
        h = hone_block(args.hone, config, steps, args.threads)
        rows["hone"]["median"].append(batch / h["step_ms"] * 1e3)
        rows["hone"].update(ready=h["ready_seconds"], first=h["first_step_seconds"], peak=h["peak_memory_bytes"])
        return rows["hone"]["median"][-1]

    before = ours_once()
    for v in [v for _ in range(rounds) for v in variants]:
        r = ask(workers[v], steps)
        theirs, behind = batch / statistics.median(r["seconds"]), ours_once()
        rows[v]["median"].append(theirs)
        rows[v]["ratio"].append((before + behind) / 2 / theirs)
        rows[v].update(first=r["first"], peak=r["peak"])
        before = behind
    for p in workers.values():
        p.stdin.close()
        p.wait()


def compare(model, args):
    batch = MODELS[model][1]
    variants = [v for v in args.variants if model not in WITHOUT_CHANNELS or "channels_last" not in v]
    rows = {v: dict(median=[], ratio=[], first=0, peak=0) for v in ("hone", *variants)}
    for done in range(0, args.rounds, args.sitting):
        sitting(model, variants, min(args.sitting, args.rounds - done), args, rows)
    ratio = {v: statistics.median(rows[v]["ratio"]) for v in variants}
    best = min(ratio, key=ratio.get)
    print(f"\n### {model}, batch {batch}, fp32, {args.threads} threads: hone / best PyTorch ({best}) = {ratio[best]:.2f}\n")
    print("| who | samples/s median | min to max | n | hone is quicker by: median (middle half) | first step done | peak memory |")
    print("|---|---|---|---|---|---|---|")
    for v, r in rows.items():
        print(f"| {v} | {statistics.median(r['median']):,.0f} | {min(r['median']):,.0f} to {max(r['median']):,.0f} | {len(r['median'])} "
              f"| {spread(r.get('ratio'))} | {first_step(r)} | {r['peak'] / 2**20:,.0f} MiB |")
    sys.stdout.flush()
    return dict(model=model, batch=batch, ratio=ratio[best], best=best, rows=rows)


def first_step(row):
    """Seconds from the start of the process; hone says when the step begins as well."""
    begins = f", begun after {row['ready']:.2f} s" if "ready" in row else ""
    return f"{row['first']:.2f} s{begins}"


def spread(ratios):
    """Median and quartiles as text; nothing for hone's own row."""
    if not ratios:
        return ""
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--hone", default="build/release/hone")
    p.add_argument("--models", default=",".join(MODELS))
    p.add_argument("--variants", default=",".join(VARIANTS))
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--sitting", type=int, default=3, help="rounds after which PyTorch's processes are started anew")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--json")
    p.add_argument("--worker", nargs=2)
    args = p.parse_args()
    args.variants = args.variants.split(",")
    if args.worker:
        return worker(*args.worker, args.threads)
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown CPU")
    import torch
    print(f"{time.strftime('%Y-%m-%d')}, {cpu}, {args.threads} threads, PyTorch {torch.__version__}, load {os.getloadavg()[0]:.1f} at start")
    results = [compare(m, args) for m in args.models.split(",")]
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
