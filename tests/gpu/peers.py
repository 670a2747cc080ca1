#!/usr/bin/env python3
"""Whole training steps of hone on a GPU beside PyTorch on the same chip, interleaved in one run.

usage: peers.py --hone BINARY [--device cuda] [--loads lenet-64,resnet18-cifar-512:bf16] [--rounds 5] [--together] [--seconds 500] [--json FILE]

Pictures: both sides hold random uint8 pictures on the device, gather a batch by index, normalise, and train the same net
with SGD (momentum, weight decay; AdamW for ViT). Texts: PyTorch's token ids lie on the device, hone's come from the host;
AdamW. `natural` lengths are drawn as src/data/synthetic_text.c draws them; hone takes them ragged, PyTorch padded with a
mask: eager to the longest of the batch, compiled to the longest there is (static shapes); BERT is Hugging Face's with
sdpa. The same precision on both sides: fp32 masters, 16-bit autocast for bf16 and fp16 (fp16 with a loss scale), TF32
allowed for tf32 only. PyTorch runs as eager, compile and a whole step captured by hand in a CUDA graph, with channels_last
and fused optimizers, each in a process of its own; "best" is the best of their medians. Blocks go round: hone, each variant, hone, ...; a block is timed from sync to sync. One variant that fails is said, not hidden.
"""
import argparse
import json
import os
import pathlib
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bench"))
import compare  # noqa: E402  the nets and the protocol of workers are the CPU race's
import compare_transformer  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
SMALL, LARGE = ("eager", "compile:reduce-overhead", "graph"), ("eager", "compile:max-autotune")
TEXT = ("eager", "graph", "compile:default", "compile:max-autotune")
PICTURES = {  # page, batch, sample, classes, samples, steps of a block, precisions, variants
    "mlp-64": ("mlp", 64, (28, 28, 1), 10, 8192, 1000, ("fp32", "bf16"), SMALL),
    "lenet-64": ("lenet", 64, (28, 28, 1), 10, 8192, 1000, ("fp32", "bf16"), SMALL),
    "lenet-256": ("lenet", 256, (28, 28, 1), 10, 8192, 1000, ("bf16",), SMALL),
    "resnet18-cifar-512": ("resnet18-cifar", 512, (32, 32, 3), 10, 4096, 40, ("bf16", "fp16"), ("eager", "graph", "compile:max-autotune")),
    "resnet50-256": ("resnet50", 256, (224, 224, 3), 1000, 1024, 8, ("bf16",), LARGE),
    "vit-s16-256": ("vit-s16", 256, (224, 224, 3), 1000, 1024, 8, ("bf16",), LARGE),
}
TEXTS = {  # page, batch, (longest, mean, words), classes, samples, steps of a block, precisions, variants
    "transformer-256": ("transformer-4x256", 256, (64, 64, 30000), 10, 8192, 100, ("bf16",), TEXT),
    "transformer-256-natural": ("transformer-4x256", 256, (64, 21, 30000), 10, 8192, 100, ("bf16",), TEXT[:3]),
    "bert-32": ("bert-base", 32, (128, 128, 30522), 2, 2048, 20, ("bf16",), TEXT),
    "bert-32-natural": ("bert-base", 32, (128, 53, 30522), 2, 2048, 20, ("bf16",), TEXT[:3]),
}
LOADS = {**PICTURES, **TEXTS}


def torch_net(page):
    if page == "resnet50":
        import torchvision
        return torchvision.models.resnet50()
    if page == "vit-s16":
        import timm
        return timm.create_model("vit_small_patch16_224")
    return compare.torch_net(page)


def lengths_of(torch, shape, samples):
    """Of `samples` texts, as src/data/synthetic_text.c draws them."""
    longest, mean, _ = shape
    if mean >= longest:
        return torch.full((samples,), longest)
    drawn = mean / 2 - torch.log(torch.rand(samples)) * mean / 2
    return drawn.round().long().clamp(1, longest)


def prepare_texts(page, batch, shape, classes, samples, precision, eager):
    """As prepare(), for texts: a function of the ids, the mask of dead places (None: all rows are full) and the labels."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    longest, mean, words = shape
    if page == "bert-base":
        import transformers
        net = transformers.BertForSequenceClassification(transformers.BertConfig(num_labels=classes, attn_implementation="sdpa"))
        logits = lambda token, dead: net(input_ids=token, attention_mask=None if dead is None else (~dead).long()).logits  # noqa: E731
    else:
        net = compare_transformer.torch_net(torch)
        logits = lambda token, dead: net(token, dead)  # noqa: E731
    net = net.train().to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-5, weight_decay=0.01, fused=True, capturable=device == "cuda")
    length = lengths_of(torch, shape, samples)
    pool = torch.randint(0, words, (samples, longest), device=device)
    dead = None if mean >= longest else (torch.arange(longest)[None] >= length[:, None]).to(device)
    label = torch.randint(0, classes, (samples,), device=device)
    at = torch.zeros(batch, dtype=torch.long, device=device)
    widest = [longest]  # of the batch; the host knows it before the device does
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)

    def forward_backward():
        token, hidden = pool[at][:, :widest[0]], None if dead is None else dead[at][:, :widest[0]]
        with torch.autocast(device, dtype=dtype or torch.float32, enabled=dtype is not None):
            loss = torch.nn.functional.cross_entropy(logits(token, hidden), label[at])
        loss.backward()
        return loss

    def advance(k):
        rows = torch.arange(k * batch, (k + 1) * batch) % samples
        widest[0] = int(length[rows].max()) if eager else longest
        at.copy_(rows, non_blocking=True)

    return torch, forward_backward, advance, optimizer, torch.amp.GradScaler(device, enabled=False)


def prepare(page, batch, shape, classes, samples, precision):
    """A function that runs one step, everything of it on the device."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True
    h, w, c = shape
    net = torch_net(page).train().to(device, memory_format=torch.channels_last)
    kind = torch.optim.AdamW if page == "vit-s16" else torch.optim.SGD
    more = {} if kind is torch.optim.AdamW else {"momentum": 0.9}
    optimizer = kind(net.parameters(), lr=1e-3, weight_decay=5e-4, fused=True, **more)
    scaler = torch.amp.GradScaler(device, enabled=precision == "fp16")
    pool = torch.randint(0, 256, (samples, c, h, w), dtype=torch.uint8, device=device).to(memory_format=torch.channels_last)
    label = torch.randint(0, classes, (samples,), device=device)
    at = torch.zeros(batch, dtype=torch.long, device=device)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    loss_of = torch.nn.CrossEntropyLoss()

    def forward_backward():
        x = pool[at].to(memory_format=torch.channels_last).float().div(255).sub(0.5).div(0.25)
        with torch.autocast(device, dtype=dtype or torch.float32, enabled=dtype is not None):
            loss = loss_of(net(x), label[at])
        scaler.scale(loss).backward()
        return loss

    def advance(k):
        at.copy_((torch.arange(k * batch, (k + 1) * batch) % samples), non_blocking=True)

    return torch, forward_backward, advance, optimizer, scaler


def stepper(variant, setup):
    """One step of a variant as a function of its number."""
    torch, forward_backward, advance, optimizer, scaler = setup

    def update():
        scaler.step(optimizer)
        scaler.update()

    if variant == "graph":
        if scaler.is_enabled():
            raise RuntimeError("a loss scale that the host reads can't be captured")
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for k in range(3):
                advance(k)
                optimizer.zero_grad(set_to_none=True)
                forward_backward()
                update()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            forward_backward()
            optimizer.step()

        def step(k):
            advance(k)
            graph.replay()
        return step
    run = forward_backward if variant == "eager" else torch.compile(forward_backward, mode=variant.split(":")[1])

    def step(k):
        advance(k)
        optimizer.zero_grad(set_to_none=True)
        run()
        update()
    return step


def worker(load, precision, variant):
    """Reads 'block N' lines, answers one JSON line with the seconds of N steps together."""
    page, batch, shape, classes, samples, *_ = LOADS[load]
    start = time.perf_counter()
    if load in TEXTS:
        setup = prepare_texts(page, batch, shape, classes, samples, precision, variant == "eager")
    else:
        setup = prepare(page, batch, shape, classes, samples, precision)
    torch = setup[0]
    sync = torch.cuda.synchronize if torch.cuda.is_available() else (lambda: None)
    step, first, done = stepper(variant, setup), None, 0
    for line in sys.stdin:
        count = int(line.split()[1])
        sync()
        begin = time.perf_counter()
        for _ in range(count):
            step(done)
            done += 1
        sync()
        seconds = time.perf_counter() - begin
        first = first or time.perf_counter() - start
        peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        print(json.dumps(dict(seconds=seconds, first=first, peak=peak)), flush=True)


def hone_block(args, load, precision):
    page, batch, shape, _, samples, steps, *_ = LOADS[load]
    made = [f"data.synthetic.shape=[{','.join(map(str, shape))}]"] if load in TEXTS else []
    words = [args.hone, "bench", str(ROOT / f"configs/bench/{page}.yaml"), "--device", args.device, "--batch", str(batch), "--steps",
             str(max(1, steps // 10)), "--json", f"train.precision={precision}", f"data.synthetic.samples={samples}", *made]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"hone bench failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


class Peer:
    """A variant of PyTorch in a process of its own; its messages are kept for when it fails."""

    def __init__(self, load, precision, variant):
        self.said = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([sys.executable, __file__, "--worker", load, precision, variant], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said,
                                        start_new_session=True, env=dict(os.environ, TORCHINDUCTOR_COMPILE_THREADS="8"))
        self.rates, self.first = [], None

    def tell(self, count):
        self.process.stdin.write(f"block {count}\n")
        self.process.stdin.flush()

    def answer(self, ends=None):
        """The next line; after `ends` (time.monotonic()) no longer waited for."""
        if ends is not None and not select.select([self.process.stdout], [], [], max(0, ends - time.monotonic()))[0]:
            raise RuntimeError("not ready in time")
        line = self.process.stdout.readline()
        if not line:
            self.said.seek(0)
            raise RuntimeError(" ".join(self.said.read().strip().split("\n")[-1:])[:300] or "ended without a word")
        return json.loads(line)

    def end(self):
        os.killpg(self.process.pid, signal.SIGKILL)  # its compiling processes, too: they would disturb what is timed next
        self.process.wait()


def start_peers(variants, load, precision):
    """Told to run a few steps first, compilation included."""
    peers = {v: Peer(load, precision, v) for v in variants}
    for p in peers.values():
        p.tell(max(3, LOADS[load][5] // 10))
    return peers


def await_peers(load, precision, peers, ends):
    """Those that are ready; the others are named with the reason, and ended."""
    for v, p in list(peers.items()):
        try:
            p.first = p.answer(ends)["first"]
        except (RuntimeError, BrokenPipeError) as why:
            print(f"{load} {precision} {v}: {why}", flush=True)
            peers.pop(v).end()


def spread(values):
    return dict(median=statistics.median(values), min=min(values), max=max(values), n=len(values))


def race(args, load, precision, peers, ends):
    """One line of the table; None where no variant could run."""
    _, batch, _, _, _, steps, *_ = LOADS[load]
    reports = []
    for k in range(args.rounds if peers else 0):
        if k > 1 and time.monotonic() > ends:
            break
        reports.append(hone_block(args, load, precision))
        for p in peers.values():
            p.tell(steps)
            p.rates.append(batch * steps / p.answer()["seconds"])
    variants, first = {v: p.rates for v, p in peers.items()}, {v: p.first for v, p in peers.items()}
    if not reports:
        return None
    best = max(variants, key=lambda v: statistics.median(variants[v]))
    mine, theirs = spread([r["samples_per_second"] for r in reports]), spread(variants[best])
    seconds = statistics.median(r["step_ms"] for r in reports) / 1e3
    row = dict(load=load, precision=precision, best=best, hone=mine, peer=theirs, ratio=mine["median"] / theirs["median"],
               kernels=reports[0].get("kernels_per_step"), tflops=reports[0]["flop_per_step"] / seconds / 1e12,
               tbps=reports[0]["bytes_per_step"] / seconds / 1e12, first=reports[-1]["first_step_seconds"], first_cold=reports[0]["first_step_seconds"], peer_first=first,
               variants={v: spread(x) for v, x in variants.items()})
    print(f"{load} {precision}: hone {mine['median']:,.0f} ({mine['min']:,.0f} to {mine['max']:,.0f}, n {mine['n']}); "
          + "; ".join(f"{v} {statistics.median(x):,.0f} = {mine['median'] / statistics.median(x):.2f}x" for v, x in variants.items()), flush=True)
    return row


def jobs_of(args):
    """{(load, precision): variants} of --loads: NAME, NAME:PRECISION or NAME:PRECISION:VARIANT/VARIANT."""
    jobs = {}
    for name in args.loads.split(","):
        load, precision, variants = (name.split(":", 2) + ["", ""])[:3]
        for p in (precision,) if precision else LOADS[load][6]:
            jobs[load, p] = tuple(variants.split("/")) if variants else LOADS[load][7]
    return jobs


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--hone", default="build/release/hone")
    p.add_argument("--device", default="cuda")
    p.add_argument("--loads", default=",".join(LOADS), help="names of LOADS, each with :PRECISION where only one is wanted, and :VARIANT/VARIANT "
                   "(eager, graph, compile:MODE) where not all of PyTorch's are")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--together", action="store_true", help="PyTorch gets ready for all loads at the same time, as compiling takes minutes")
    p.add_argument("--seconds", type=float, default=480)
    p.add_argument("--json", type=pathlib.Path)
    p.add_argument("--worker", nargs=3)
    args = p.parse_args()
    if args.worker:
        return worker(*args.worker)
    ends, rows = time.monotonic() + args.seconds, []
    jobs = jobs_of(args)
    ready = {job: start_peers(jobs[job], *job) for job in jobs} if args.together else {}
    for job in ready:  # nothing is timed before the last one is ready
        await_peers(*job, ready[job], ends - 15 * len(jobs))
    for job in jobs:
        peers = ready.get(job)
        if peers is None:
            peers = start_peers(jobs[job], *job)
            await_peers(*job, peers, ends)
        row = race(args, *job, peers, ends)
        for p in peers.values():
            p.end()
        rows += [row] if row else []
        if args.json:
            args.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
