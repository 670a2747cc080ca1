#!/usr/bin/env python3
"""Trained runs as ONNX files: onnxruntime beside `hone predict` on their own data.

usage: onnx_runs.py BUILD RUN... [--samples 256] [--int8]

Each RUN is a run directory of pictures in an IDX data set, or of texts in a folder with test.tsv. The run is
exported, and onnxruntime answers the first samples of the test part in batches of 17 and of 1: probabilities within
1e-5 of hone's, the same arg max; pictures also as raw bytes with the preprocessing in the graph: within 1e-4. --int8
exports 8 bits as well and counts, in onnxruntime, the right answers of both files on the whole test part: at most half
a point fewer, at most 27 % of the size (pictures). Needs onnx, onnxruntime, numpy; without them it exits with 77.
"""
import argparse
import csv
import gzip
import json
import pathlib
import re
import sys
import tempfile

from onnx_peer import STYLES, answers, compare, flat, in_batches, np, onnx, ort, padded, run, session


def read_idx(path):
    raw = gzip.open(path).read()
    shape = [int.from_bytes(raw[4 + 4 * k:8 + 4 * k], "big") for k in range(raw[3])]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def data_path(folder):
    found = re.search(r"^  path: (\S+)", (folder / "resolved.yaml").read_text(), re.M)
    if not found or found[1] == "~":
        sys.exit(f"{folder}: resolved.yaml names no data.path")
    return pathlib.Path(found[1])


def predictions(hone, folder, model, inputs):
    """hone's probabilities (N, classes) in the model's order of classes."""
    lines = run(hone, "predict", folder, "-", "--format", "jsonl", "--top", len(model["classes"]), stdin="\n".join(inputs) + "\n").splitlines()
    tops = [{t["label"]: t["score"] for t in json.loads(line)["top"]} for line in lines]
    return np.array([[t[c] for c in model["classes"]] for t in tops], np.float32)


def smaller(name, hone, folder, work, right):
    """8 bits beside the full file, both by onnxruntime; right(session) counts right answers of the whole test part."""
    said = run(hone, "export", folder, "--to", "onnx", "-o", work / "int8.onnx", "--int8").strip().splitlines()[-1]
    full, n = right(session(work / "model.onnx"))
    less, _ = right(session(work / "int8.onnx"))
    size = (work / "int8.onnx").stat().st_size / (work / "model.onnx").stat().st_size
    print(f"{name:20} int8: {full / n:.4f} -> {less / n:.4f} of {n} in onnxruntime, {size:.1%} of the size; {said.split(': ')[-1]}", flush=True)
    if (full - less) / n > 0.005 or size > 0.27:
        sys.exit(f"{name}: 8 bits lose more than half a point, or the file is larger than 27 %")


def pictures(a, hone, folder, model, work, worst):
    name, data, pre = folder.name, data_path(folder), model["preprocess"]
    images, labels = (read_idx(data / f"t10k-{part}-ubyte.gz") for part in ("images-idx3", "labels-idx1"))
    x = ((images[:, None].astype(np.float32) / 255 - np.float32(pre["mean"][0])) / np.float32(pre["std"][0])).astype(np.float32)
    want = predictions(hone, folder, model, [f"{data}#{k}" for k in range(a.samples)])
    run(hone, "export", folder, "--to", "onnx", "-o", work / "model.onnx")
    run(hone, "export", folder, "--to", "onnx", "-o", work / "raw.onnx", "--with-preprocess")
    s, raw = session(work / "model.onnx"), session(work / "raw.onnx")
    for batch in (17, 1):
        compare(name, in_batches(s, {"input": x[:a.samples]}, batch), want, 1e-5, worst)
        compare(name + " raw", in_batches(raw, {"input": images[:a.samples, :, :, None]}, batch), want, 1e-4, worst)
    print(f"{name:20} {a.samples} pictures, batch 17 and 1: {worst[name]:.2e}, raw bytes {worst[name + ' raw']:.2e}", flush=True)
    if a.int8:
        smaller(name, hone, folder, work, lambda s: (int((in_batches(s, {"input": x}, 250).argmax(1) == labels).sum()), len(labels)))


def text_feeds(rows, vocab, bag, style, rng):
    return flat([r["ids"] for r in rows]) if bag else padded(rows, vocab, style, rng)


def texts(a, hone, folder, model, work, worst):
    name, rng = folder.name, np.random.default_rng(5)
    with open(data_path(folder) / "test.tsv", newline="") as f:
        rows = list(csv.DictReader(f, delimiter="\t"))[:a.samples]
    lines = [r["text"] for r in rows]
    want = predictions(hone, folder, model, lines)
    tokenizer, limit = folder / "tokenizer.json", model["preprocess"].get("max_length") or 1 << 30
    ids = [{"ids": json.loads(run(hone, "tokenizer", "show", "--tokenizer", tokenizer, "--json", t))["ids"]} for t in lines]
    longest = max(len(r["ids"]) for r in ids)
    if longest > limit:
        sys.exit(f"{name}: a text has {longest} tokens and the model reads {limit}: take fewer --samples")
    for r in ids:
        r["types"] = [0] * len(r["ids"])
    run(hone, "export", folder, "--to", "onnx", "-o", work / "model.onnx")
    s = session(work / "model.onnx")
    bag, vocab = "offsets" in [i.name for i in s.get_inputs()], model["preprocess"].get("vocab", 1)
    for style in ["exact"] if bag else STYLES:
        for batch in (17, 1):
            got = [answers(s, text_feeds(ids[i:i + batch], vocab, bag, style, rng)) for i in range(0, len(ids), batch)]
            compare(name, np.concatenate(got), want, 1e-5, worst)
    print(f"{name:20} {len(rows)} texts of {min(len(r['ids']) for r in ids)} to {longest} tokens, batch 17 and 1: {worst[name]:.2e}", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build", type=pathlib.Path)
    p.add_argument("runs", type=pathlib.Path, nargs="+")
    p.add_argument("--samples", type=int, default=256)
    p.add_argument("--int8", action="store_true")
    a = p.parse_args()
    worst = {}
    print(f"onnx {onnx.__version__}, onnxruntime {ort.__version__}")
    for folder in a.runs:
        model = json.loads((folder / "model.json").read_text())
        with tempfile.TemporaryDirectory() as scratch:
            (texts if model["task"] == "text" else pictures)(a, a.build / "hone", folder, model, pathlib.Path(scratch), worst)
    print(f"all within bounds; the largest difference is {max(worst.values(), default=0):.2e}")


main()
