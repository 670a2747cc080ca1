#!/usr/bin/env python3
"""Exported ONNX files of nets that read tokens against onnxruntime and onnx's own checker.

usage: onnx_text.py BUILD [--full] [--only NAME,...] [--samples N] [--latency]

For every net of the text zoo (random weights, a tokenizer, texts of 0 to 48 tokens, pairs where the net reads them):
`hone export --to onnx` in several opsets, the checker's full check, and onnxruntime on batches of 7 and of 1 with
padding behind the texts, before them, on both sides and between the tokens, filled with ids that mean something:
probabilities within 1e-5 of hone's, the same arg max. Then planted faults: a mask that lies must change the answers,
and an exporter that errs must end with exit code 7 and leave no file; and 8 and 16 bits of a net that was trained for a
moment. --full takes the published sizes (minutes).
--latency adds the time of one short text. Needs onnx, onnxruntime, numpy; without them it exits with 77.
"""
import argparse
import json
import pathlib
import sys
import tempfile
import time

from onnx_peer import STYLES, answers, compare, np, onnx, ort, padded, run, session

LIMIT = 1e-5
# each must be found by the export itself; the zoo's rows that hold what the fault spoils
FAULTS = [("bigru", "gates"), ("gru", "reset"), ("bigru", "reverse"), ("textcnn", "pads"), ("textcnn", "mask"), ("gru", "mask"), ("transformer", "mask"), ("transformer", "places"), ("transformer_post", "epsilon"), ("bert_base", "types"), ("bert_base", "epsilon"), ("distilbert", "heads"), ("minilm_l6", "mean"), ("minilm_l6", "transpose")]


def latency(s, rows):
    feeds = padded(rows, 2, "exact", np.random.default_rng(1))
    feeds = {i.name: feeds[i.name] for i in s.get_inputs()}
    times = []
    for _ in range(400):
        t = time.perf_counter()
        s.run(["probabilities"], feeds)
        times.append(time.perf_counter() - t)
    return 1e3 * float(np.median(times))


def net(a, hone, dump, name, work, worst):
    folder, rng = work / name, np.random.default_rng(5)
    run(dump, "text", name, "full" if a.full else "small", folder, a.samples)
    rows = [json.loads(line) for line in (folder / "texts.jsonl").read_text().splitlines()]
    want = np.array([r["probability"] for r in rows], np.float32)
    vocab = json.loads((folder / "model.json").read_text())["preprocess"]["vocab"]
    spread = float(np.abs(want - want.mean(0)).max())
    if spread < 0.05:  # answers that hardly depend on the text would prove nothing
        sys.exit(f"{name}: probabilities of different texts are within {spread:.3g}")
    for opset in [17] if a.full else [13, 17, 20, 21]:
        run(hone, "export", folder, "--to", "onnx", "-o", folder / "model.onnx", "--opset", opset)
        s = session(folder / "model.onnx")
        for style in STYLES:
            for batch in (7, 1) if opset == 17 else (7,):
                got = [answers(s, padded(rows[i:i + batch], vocab, style, rng)) for i in range(0, len(rows), batch)]
                compare(name, np.concatenate(got), want, LIMIT, worst)
        lie = padded(rows, vocab, "behind", rng)
        lie["attention_mask"][:] = 1
        if np.abs(answers(s, lie) - want).max() < 1e-3:
            sys.exit(f"{name}: padding that the mask calls tokens changes nothing")
    lengths = sorted(len(r["ids"]) for r in rows)
    size = (folder / "model.onnx").stat().st_size
    took = f", one text of {len(rows[0]['ids'])} tokens {latency(session(folder / 'model.onnx', 1), rows[:1]):.3f} ms on a thread" if a.latency else ""
    print(f"{name:17} {size / 2**20:.2f} MiB, {len(rows)} texts of {lengths[0]} to {lengths[-1]} tokens, five paddings, batch 7 and 1: {worst[name]:.2e}{took}", flush=True)


def faults(hone, work):
    tried = 0
    for name, fault in FAULTS:
        folder = work / name
        if not folder.exists():
            continue
        target = folder / "faulty.onnx"
        run(hone, "export", folder, "--to", "onnx", "-o", target, environment={"HONE_ONNX_FAULT": fault}, code=7)
        if target.exists():
            sys.exit(f"{name}: a planted fault ({fault}) left its file")
        tried += 1
    print(f"{tried} planted faults of the exporter were refused with exit code 7 and left no file", flush=True)


SMALL_PAGE = """task: text
out: {out}
data: {{path: {data}, val_fraction: 0.25}}
text: {{tokenizer: wordpiece, vocab_size: 200, max_length: 32}}
model: {{file: {repo}/configs/models/transformer.yaml, with: {{dim: 32, heads: 2, ff: 64, dropout: 0}}}}
train: {{epochs: 6, batch: 16, optimizer: {{name: adamw, lr: 3e-3}}}}
"""


def small_forms(hone, work):
    """Trained for a moment, because 8 bits are calibrated: 8 and 16 bits in onnxruntime answer nearly as the full file."""
    words = {"food": "bread cheese soup apple salt oven".split(), "sea": "ship wave harbour sail anchor tide".split(), "sky": "cloud wing star wind blue storm".split()}
    rng, folder, data, page = np.random.default_rng(3), work / "trained", work / "texts.tsv", work / "trained.yaml"
    rows = [(label, " ".join(rng.choice(words[label] + ["the", "a", "of", "and"], rng.integers(1, 14)))) for label in list(words) * 80]
    data.write_text("label\ttext\n" + "".join(f"{label}\t{text}\n" for label, text in rows))
    page.write_text(SMALL_PAGE.format(out=folder, data=data, repo=pathlib.Path(__file__).resolve().parents[2]))
    run(hone, "train", page, "--quiet")
    ids = [json.loads(run(hone, "tokenizer", "show", "--tokenizer", folder / "tokenizer.json", "--json", text))["ids"] for _, text in rows[:60]]
    feeds = padded([{"ids": i, "types": [0] * len(i)} for i in ids], 100, "between", rng)
    run(hone, "export", folder, "--to", "onnx", "-o", folder / "full.onnx")
    want = answers(session(folder / "full.onnx"), feeds)
    for flag, limit in (("--int8", 0.05), ("--fp16", 1e-3)):
        said = run(hone, "export", folder, "--to", "onnx", "-o", folder / "less.onnx", flag).strip().splitlines()[-1]
        got = answers(session(folder / "less.onnx"), feeds)
        off, same = float(np.abs(got - want).mean()), float((got.argmax(1) == want.argmax(1)).mean())
        if not (off <= limit and same >= 0.95):
            sys.exit(f"{flag}: probabilities are {off:.3g} off in the mean, {same:.0%} of the classes are the same")
        size = (folder / "less.onnx").stat().st_size / (folder / "full.onnx").stat().st_size
        print(f"{flag:17} {size:.0%} of the file, {off:.1e} off in the mean, {same:.0%} of the classes the same; {said.split(': ')[-1]}", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build", type=pathlib.Path)
    p.add_argument("--full", action="store_true")
    p.add_argument("--only", default="")
    p.add_argument("--samples", type=int, default=40)
    p.add_argument("--latency", action="store_true")
    a = p.parse_args()
    hone, dump = a.build / "hone", a.build / "tests" / "onnx_dump"
    only = [n for n in a.only.split(",") if n]
    worst = {}
    print(f"onnx {onnx.__version__}, onnxruntime {ort.__version__}")
    with tempfile.TemporaryDirectory() as scratch:
        work = pathlib.Path(scratch)
        for name in run(dump, "texts").split():
            if not only or name in only:
                net(a, hone, dump, name, work, worst)
        if not a.full:
            faults(hone, work)
        if not only or "small_forms" in only:
            small_forms(hone, work)
    print(f"all within bounds; the largest difference is {max(worst.values(), default=0):.2e}")


main()
