#!/usr/bin/env python3
"""One picture or one short text: libhone beside onnxruntime on the file that hone exports, one thread each, in turns.

usage: compare_predict.py BUILD RUN... [--rounds 30] [--text TEXT]

Each RUN is a run directory, of pictures or of texts. hone is called through libhone.so: hone_predictor_run on bytes of
the model's size (normalising is in it), or hone_predictor_texts (tokenizing is in it). onnxruntime gets floats, or
token ids, that are ready, bound once (io_binding): its call does less. A round is a block of calls of each; a block's
figure is the median of its calls; ratios are of the two blocks of a round. Needs what ./dev python installs.
"""
import argparse
import ctypes
import json
import pathlib
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "python"))
from onnx_peer import flat, np, ort, padded, run, session

BLOCK_SECONDS = 0.1


class Hone:
    """A predictor of libhone; call() predicts the one input that it was given."""

    def __init__(self, library, folder, text):
        self.l = ctypes.CDLL(str(library))
        self.l.hone_error_message.restype = ctypes.c_char_p
        self.p = ctypes.c_void_p()
        self.check(self.l.hone_predictor_open(str(folder).encode(), b"cpu", 1, ctypes.byref(self.p)))
        self.answer = (ctypes.c_float * self.l.hone_predictor_classes(self.p))()
        if isinstance(text, bytes):
            self.f, self.data = self.l.hone_predictor_texts, ctypes.c_char_p(text)
            self.args = (self.p, ctypes.byref(self.data), ctypes.byref(ctypes.c_size_t(len(text))), 1, self.answer)
        else:
            self.f, self.pixels = self.l.hone_predictor_run, text
            self.args = (self.p, text.ctypes.data_as(ctypes.c_void_p), 1, self.answer)

    def check(self, status):
        if status:
            sys.exit(f"libhone: {self.l.hone_error_message().decode()}")

    def call(self):
        self.check(self.f(*self.args))


class Runtime:
    """onnxruntime with inputs and output bound once."""

    def __init__(self, path, feeds):
        self.s = session(path, threads=1)
        self.bound = self.s.io_binding()
        self.feeds = {i.name: feeds[i.name] for i in self.s.get_inputs()}
        for name, value in self.feeds.items():
            self.bound.bind_cpu_input(name, value)
        self.bound.bind_output("probabilities", "cpu")

    def call(self):
        self.s.run_with_iobinding(self.bound)

    def answer(self):
        return self.bound.copy_outputs_to_cpu()[0]


def block(call):
    times, end = [], time.perf_counter() + BLOCK_SECONDS
    while not times or time.perf_counter() < end:
        t = time.perf_counter()
        call()
        times.append(time.perf_counter() - t)
    return statistics.median(times)


def quartiles(x):
    return statistics.quantiles(x, n=4) if len(x) > 1 else [x[0]] * 3


def feeds_of_text(hone, folder, text, bag):
    ids = json.loads(run(hone, "tokenizer", "show", "--tokenizer", folder / "tokenizer.json", "--json", text))["ids"]
    return len(ids), flat([ids]) if bag else padded([{"ids": ids, "types": [0] * len(ids)}], 2, "exact", np.random.default_rng(1))


def inputs(hone, folder, model, text):
    """(what it is, hone's input, onnxruntime's feeds)"""
    pre = model["preprocess"]
    if model["task"] == "text":
        tokens, feeds = feeds_of_text(hone, folder, text, "embedding_bag" in json.dumps(model["layers"]))
        return f"a text of {tokens} ids", text.encode(), feeds
    shape = pre["height"], pre["width"], pre["channels"]
    x = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    mean, std = (np.array(pre[k], np.float32) for k in ("mean", "std"))
    return "x".join(map(str, shape)), x, {"input": np.ascontiguousarray(((x / np.float32(255) - mean) / std).transpose(2, 0, 1)[None], np.float32)}


def race(a, folder, work):
    hone, model = a.build / "hone", json.loads((folder / "model.json").read_text())
    what, own, feeds = inputs(hone, folder, model, a.text)
    run(hone, "export", folder, "--to", "onnx", "-o", work / "model.onnx")
    h, o = Hone(a.build / "libhone.so", folder, own), Runtime(work / "model.onnx", feeds)
    h.call()
    o.call()
    off = float(np.abs(np.array(h.answer[:], np.float32) - o.answer()[0]).max())
    if not off <= 1e-5:
        sys.exit(f"{folder}: the two answers are {off:.2g} apart")
    pairs = [(block(h.call), block(o.call)) for _ in range(a.rounds)]
    low, middle, high = quartiles([y / x for x, y in pairs])
    ms = [1e3 * statistics.median(x) for x in zip(*pairs)]
    print(f"| {folder.name}, {what} | {ms[0]:.4f} | {ms[1]:.4f} | **{middle:.2f}** ({low:.2f} to {high:.2f}) |", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build", type=pathlib.Path)
    p.add_argument("runs", type=pathlib.Path, nargs="+")
    p.add_argument("--rounds", type=int, default=30)
    p.add_argument("--text", default="small caching DNS proxy and DHCP server for home networks")
    a = p.parse_args()
    print(f"onnxruntime {ort.__version__}, one thread, {a.rounds} rounds\n\n| net, input | hone, ms | onnxruntime, ms | onnxruntime / hone (middle half) |\n|---|---|---|---|")
    for folder in a.runs:
        with tempfile.TemporaryDirectory() as scratch:
            race(a, folder, pathlib.Path(scratch))


main()
