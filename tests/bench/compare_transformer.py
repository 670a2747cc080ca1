#!/usr/bin/env python3
"""Training steps of a transformer on texts: hone beside PyTorch on this machine's CPU, interleaved in one run.

usage: compare_transformer.py --hone build/release/hone [--lengths full,natural] [--variants eager,compile] [--rounds 5]

Both sides train 4 layers of 256 channels, 4 heads, ff 1024, gelu, dropout 0.1, batch 256, AdamW, fp32, on texts of up to
64 tokens: `full` rows, or `natural` lengths (mean a third of the longest). hone takes them ragged
(configs/bench/transformer-4x256.yaml, a sparse table); PyTorch's nn.TransformerEncoder takes them padded to the longest of
the batch, with src_key_padding_mask where lengths differ; "best" is the better median of eager and compile. Both add
learned positions, average over a text's tokens and classify. Prints median, spread (min to max of blocks), n.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

CONFIG, BATCH, LONGEST, WORDS, CLASSES = "configs/bench/transformer-4x256.yaml", 256, 64, 30000, 10
MEAN = {"full": 64, "natural": 21}


def torch_net(torch):
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.place = nn.Embedding(WORDS, 256), nn.Embedding(LONGEST, 256)
            layer = nn.TransformerEncoderLayer(256, 4, 1024, 0.1, "gelu", batch_first=True, norm_first=True)
            self.drop, self.encoder = nn.Dropout(0.1), nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
            self.norm, self.head = nn.LayerNorm(256), nn.Linear(256, CLASSES)

        def forward(self, token, dead):
            x = self.drop(self.table(token) + self.place.weight[:token.shape[1]])
            x = self.norm(self.encoder(x, src_key_padding_mask=dead))
            if dead is None:
                return self.head(x.mean(1))
            live = (~dead)[..., None]
            return self.head((x * live).sum(1) / live.sum(1))

    return Net()


def worker(lengths, variant, threads):
    """Reads 'block N' lines, answers one JSON line with the seconds and tokens of each of N steps."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    net = torch_net(torch).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, foreach=True)
    run = torch.compile(net, dynamic=False) if variant == "compile" else net
    rng, mean = np.random.default_rng(1), MEAN[lengths]

    def batch():
        """Lengths as src/data/synthetic_text.c draws them."""
        n = np.full(BATCH, LONGEST)
        if mean < LONGEST:
            n = np.clip(np.round(mean / 2 + rng.exponential(mean / 2, BATCH)), 1, LONGEST).astype(int)
        token = torch.from_numpy(rng.integers(0, WORDS, (BATCH, int(n.max()))))
        dead = None if mean == LONGEST else torch.arange(token.shape[1])[None] >= torch.from_numpy(n)[:, None]
        return token, dead, torch.from_numpy(rng.integers(0, CLASSES, BATCH)), int(n.sum())

    def step():
        token, dead, label, live = batch()
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(run(token, dead), label).backward()
        optimizer.step()
        return time.perf_counter() - start, live

    for line in sys.stdin:
        print(json.dumps([step() for _ in range(int(line.split()[1]))]), flush=True)


def ask(process, count):
    process.stdin.write(f"block {count}\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("the PyTorch process ended; see its messages above")
    steps = json.loads(line)
    seconds, tokens = statistics.median(s for s, _ in steps), statistics.mean(t for _, t in steps)
    return BATCH / seconds, tokens / seconds


def hone_block(args, lengths, steps):
    out = subprocess.run([args.hone, "bench", CONFIG, f"data.synthetic.shape=[{LONGEST},{MEAN[lengths]},{WORDS}]", "--steps",
                          str(steps), "--threads", str(args.threads), "--json"], capture_output=True, text=True)
    if out.returncode:
        raise RuntimeError(f"hone bench failed:\n{out.stderr}")
    made = json.loads(out.stdout)
    return BATCH / made["step_ms"] * 1e3, made["tokens_per_step"] / made["step_ms"] * 1e3


def compare(lengths, args):
    workers = {v: subprocess.Popen([sys.executable, __file__, "--worker", lengths, v, "--threads", str(args.threads)],
                                   text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for v in args.variants}
    rows = {v: [] for v in ("hone", *args.variants)}
    for p in workers.values():
        ask(p, 2)  # warm-up, compilation included
    for _ in range(args.rounds):
        for v, p in workers.items():
            rows["hone"].append(hone_block(args, lengths, args.steps))
            rows[v].append(ask(p, args.steps))
    for p in workers.values():
        p.stdin.close()
        p.wait()
    median = {v: statistics.median(s for s, _ in r) for v, r in rows.items()}
    best = max(args.variants, key=median.get)
    print(f"\n### transformer-4x256, {lengths} rows of up to {LONGEST}, batch {BATCH}, {args.threads} threads: "
          f"hone / best PyTorch ({best}) = {median['hone'] / median[best]:.2f}\n")
    print("| who | texts/s median | min to max | tokens/s | n |\n|---|---|---|---|---|")
    for v, r in rows.items():
        print(f"| {v} | {median[v]:,.0f} | {min(s for s, _ in r):,.0f} to {max(s for s, _ in r):,.0f} "
              f"| {statistics.median(t for _, t in r):,.0f} | {len(r)} |", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--hone", default="build/release/hone")
    p.add_argument("--lengths", default="full,natural")
    p.add_argument("--variants", default="eager,compile")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--steps", type=int, default=3)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--worker", nargs=2)
    args = p.parse_args()
    args.variants = args.variants.split(",")
    if args.worker:
        return worker(*args.worker, args.threads)
    import torch

    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown CPU")
    print(f"{time.strftime('%Y-%m-%d')}, {cpu}, {args.threads} threads, PyTorch {torch.__version__}, "
          f"load {os.getloadavg()[0]:.1f} at start")
    for lengths in args.lengths.split(","):
        compare(lengths, args)


if __name__ == "__main__":
    main()
