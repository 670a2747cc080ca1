#!/usr/bin/env python3
"""Exported ONNX files against onnxruntime and onnx's own checker.

usage: onnx_zoo.py BUILD [--full] [--only NAME,...] [--samples N]

For every net of the zoo (random weights, norms with statistics that matter): `hone export --to onnx`, the checker's
full check, and onnxruntime on samples in batches of 17 and of 1: probabilities within 1e-5 of hone's, the same arg
max. With --with-preprocess raw images of several sizes: within 1e-4. Then a bag of n-grams, trained for a moment, by
ids and offsets. --full takes the published sizes (minutes), else small ones. Needs onnx, onnxruntime, numpy; without
them it says so and exits with 77, which ctest calls skipped.
"""
import argparse
import json
import pathlib
import sys
import tempfile

from onnx_peer import answers, check_spread, compare, flat, in_batches, np, onnx, ort, run, session

RAW_SIZES = [(40, 61), (97, 33), (64, 64), (21, 130)]


def image_net(a, hone, dump, name, work, worst):
    folder = work / name
    run(dump, "make", name, "full" if a.full else "small", folder)
    run(dump, "run", folder, a.samples)
    h, w, c, classes = map(int, (folder / "shape.txt").read_text().split())
    x = np.fromfile(folder / "input.f32", np.float32).reshape(-1, c, h, w)
    want = np.fromfile(folder / "probability.f32", np.float32).reshape(-1, classes)
    check_spread(name, want)
    # above the default: LayerNormalization, the axes of reductions and GELU change with opsets 17, 18 and 20
    for flags in [[], ["--opset", "13", "--no-fold"], ["--opset", "20"]] if not a.full else [[]]:
        run(hone, "export", folder, "--to", "onnx", "-o", folder / "model.onnx", *flags)
        s = session(folder / "model.onnx")
        for batch in (17, 1):
            compare(name, in_batches(s, {"input": x}, batch), want, 1e-5, worst)
    size = (folder / "model.onnx").stat().st_size
    print(f"{name:14} {h}x{w}x{c}, {classes} classes, {size / 2**20:.2f} MiB, {len(x)} samples, batch 17 and 1: {worst[name]:.2e}", flush=True)
    if c not in (1, 3):
        return
    run(hone, "export", folder, "--to", "onnx", "--with-preprocess", "-o", folder / "raw.onnx")
    s = session(folder / "raw.onnx")
    for height, width in RAW_SIZES:
        run(dump, "raw", folder, height, width, 5)
        raw = np.fromfile(folder / "raw.u8", np.uint8).reshape(-1, height, width, c)
        want = np.fromfile(folder / "raw.f32", np.float32).reshape(-1, classes)
        compare(name + " raw", answers(s, {"input": raw}), want, 1e-4, worst)
    print(f"{'':14} raw images of {len(RAW_SIZES)} sizes: {worst[name + ' raw']:.2e}", flush=True)


TEXT_PAGE = """task: text
out: {out}
data: {{path: {data}, val_fraction: 0.25}}
text: {{ngram: {{words: [1, 2], buckets: 5000}}}}
model: {{layers: [{layers}, linear: classes]}}
train: {{epochs: 3, batch: 16, optimizer: {{name: sgd, lr: {lr}}}}}
"""


def sentences():
    words = {"food": "bread cheese soup apple salt oven bake sweet plate fork".split(), "sea": "ship wave harbour sail anchor tide salt deck storm rope".split(), "sky": "cloud wing star wind blue storm bird high moon light".split()}
    rng = np.random.default_rng(3)
    return [(label, " ".join(rng.choice(words[label] + ["the", "a", "of", "and"], rng.integers(1, 14)))) for label in list(words) * 90]


def bag(a, hone, work, mode, worst):
    name, folder = f"bag {mode}", work / f"bag-{mode}"
    rows = sentences()
    data = work / "texts.tsv"
    data.write_text("label\ttext\n" + "".join(f"{label}\t{text}\n" for label, text in rows))
    page = work / f"bag-{mode}.yaml"
    page.write_text(TEXT_PAGE.format(out=folder, data=data, layers=f"embedding_bag: {{dim: 12, mode: {mode}}}", lr=0.5 if mode == "mean" else 0.01))
    run(hone, "train", page, "--quiet")
    run(hone, "export", folder, "--to", "onnx", "-o", folder / "model.onnx")
    s = session(folder / "model.onnx")
    texts = [t for _, t in rows[:a.samples]] + ["unheardof", "???"]
    lines = run(hone, "predict", folder, "-", "--format", "jsonl", "--top", 3, stdin="\n".join(texts) + "\n").splitlines()
    labels = json.loads({p.key: p.value for p in onnx.load(str(folder / "model.onnx")).metadata_props}["labels"])
    want = np.array([[{t["label"]: t["score"] for t in json.loads(l)["top"]}[c] for c in labels] for l in lines], np.float32)
    ids = [json.loads(run(hone, "tokenizer", "show", "--tokenizer", folder / "tokenizer.json", "--json", t))["ids"] for t in texts]
    for batch in (17, 1):
        got = []
        for i in range(0, len(ids), batch):
            got.append(answers(s, flat(ids[i:i + batch])))
        compare(name, np.concatenate(got), want, 1e-5, worst)
    print(f"{name:14} {len(texts)} texts, batch 17 and 1: {worst[name]:.2e}", flush=True)


QUANT_PAGE = """task: image
out: {out}
data: {{synthetic: {{shape: [16, 16, 1], classes: 4, samples: 400}}}}
model: {{layers: [conv: {{out: 16}}, batchnorm, relu, conv: {{out: 32, stride: 2}}, relu, flatten, linear: classes]}}
train: {{epochs: 2, batch: 20, optimizer: {{name: sgd, lr: 0.05}}}}
"""


def quantised(hone, dump, work, worst):
    """8 and 16 bits run in onnxruntime and answer nearly as the full file; a planted fault ends with exit code 7."""
    folder, page = work / "quant", work / "quant.yaml"
    page.write_text(QUANT_PAGE.format(out=folder))
    run(hone, "train", page, "--quiet")
    run(dump, "run", folder, 64)
    x = np.fromfile(folder / "input.f32", np.float32).reshape(-1, 1, 16, 16)
    want = np.fromfile(folder / "probability.f32", np.float32).reshape(-1, 4)
    for flag, limit in (("--int8", 3e-3), ("--fp16", 2e-3)):  # 5e-3 where products saturate on AVX2
        said = run(hone, "export", folder, "--to", "onnx", "-o", folder / "small.onnx", flag).strip().splitlines()
        got = answers(session(folder / "small.onnx"), {"input": x})
        off = float(np.abs(got - want).mean())
        if not off <= limit:
            sys.exit(f"{flag}: probabilities are {off:.3g} off in the mean, at most {limit}")
        print(f"{flag:14} {said[-1].split('; ')[-1]}; in onnxruntime {off:.2e} off in the mean", flush=True)
    target = folder / "faulty.onnx"
    run(hone, "export", folder, "--to", "onnx", "-o", target, environment={"HONE_ONNX_FAULT": "epsilon"}, code=7)
    if target.exists():
        sys.exit("a planted fault left its file")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build", type=pathlib.Path)
    p.add_argument("--full", action="store_true")
    p.add_argument("--only", default="")
    p.add_argument("--samples", type=int, default=64)
    a = p.parse_args()
    hone, dump = a.build / "hone", a.build / "tests" / "onnx_dump"
    names = run(dump, "list").split()
    only = [n for n in a.only.split(",") if n]
    worst = {}
    print(f"onnx {onnx.__version__}, onnxruntime {ort.__version__}")
    with tempfile.TemporaryDirectory() as scratch:
        work = pathlib.Path(scratch)
        for name in names:
            if not only or name in only:
                image_net(a, hone, dump, name, work, worst)
        for mode in ("mean", "sum"):
            if not only or "bag" in only:
                bag(a, hone, work, mode, worst)
        if not only or "quantised" in only:
            quantised(hone, dump, work, worst)
    print(f"all within bounds; the largest difference is {max(worst.values(), default=0):.2e}")


main()
