#!/usr/bin/env python3
"""Bags of n-grams: hone beside fastText on the same rows, one thread each, in turns.

usage: compare_text.py --hone build/release/hone --fasttext PROGRAM [--data datasets/debian-sections] [--dims 10,100]
                       [--rounds 3] [--scratch DIR] [--predict LINES]

PROGRAM is any fastText: Debian's package `fasttext`, or its source built with -O3 -march=native. Installs nothing.
Both get the same words (lower-cased) in the same shuffled order of rows (fastText does not shuffle, and a table sorted
by name costs it 15 points), 2-grams, 2,000,000 buckets, words from count 1. hone's bag is that of configs/sections-bag.yaml
(the sum over the root of the number of n-grams, label smoothing 0.05).

Training is timed by CPU seconds (user and system) of whole processes: a run of few epochs is taken from one of many,
so that reading, first values and saving cancel, and other work on the machine hits neither. Words are those between
white space, times epochs. Accuracy: on the test part, of the
run at --epochs whose rate is the best of four on the validation part, for each of the two. Prediction: whole processes, start included, LINES lines
of the test part on stdin; wall and CPU seconds. Scratch should be a memory file system. Prints markdown tables.
"""
import argparse
import json
import os
import pathlib
import random
import resource
import shutil
import statistics
import subprocess
import tempfile
import time


def timed(command, stdin=None):
    """(wall, CPU) seconds of a process; its failure is ours."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    r = subprocess.run(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if r.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}:\n{r.stderr.decode()[-2000:]}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, r.stdout


def prepare(data, scratch):
    """The same rows in both formats; returns the words of the training part."""
    words = 0
    for part in ("train", "val", "test"):
        rows = (data / f"{part}.tsv").read_text(encoding="utf8").rstrip("\n").split("\n")[1:]
        rows = [r.split("\t", 1) for r in rows]
        random.Random(1).shuffle(rows)
        (scratch / f"{part}.tsv").write_text("label\ttext\n" + "".join(f"{c}\t{t.lower()}\n" for c, t in rows), encoding="utf8")
        (scratch / f"{part}.txt").write_text("".join(f"__label__{c} {t.lower()}\n" for c, t in rows), encoding="utf8")
        if part == "train":
            words = sum(len(t.split()) for _, t in rows)
    return words


def train_fasttext(a, dim, epochs, lr):
    _, cpu, _ = timed([a.fasttext, "supervised", "-input", a.scratch / "train.txt", "-output", a.scratch / "ft", "-dim", str(dim),
                       "-lr", str(lr), "-epoch", str(epochs), "-wordNgrams", "2", "-minCount", "1", "-bucket", "2000000",
                       "-thread", "1", "-verbose", "0"])
    return cpu


def train_hone(a, dim, epochs, lr, part="test"):
    shutil.rmtree(a.scratch / "run", ignore_errors=True)
    _, cpu, _ = timed([a.hone, "train", a.root / "configs/sections-bag.yaml", "--threads", "1", "--quiet", "--out", a.scratch / "run",
                       "data={train: %s, test: %s, val_fraction: 0}" % (a.scratch / "train.tsv", a.scratch / f"{part}.tsv"),
                       f"model.with.dim={dim}", f"train.epochs={epochs}", "checkpoint.every=1000 epoch",
                       "train.optimizer={name: sgd, lr: %g, momentum: 0, weight_decay: 0}" % lr])
    return cpu


def accuracy_fasttext(a, part="test"):
    _, _, out = timed([a.fasttext, "test", a.scratch / "ft.bin", a.scratch / f"{part}.txt"])
    return float([line.split()[1] for line in out.decode().splitlines() if line.startswith("P@1")][0])


def accuracy_hone(a):
    return json.loads((a.scratch / "run/eval/report.json").read_text())["accuracy"]


# Rates of a text, and of a batch's mean with the sum over the root: what lies around the best of each.
RATES_FASTTEXT, RATES_HONE = (0.25, 0.5, 0.75, 1.0), (6, 8, 12, 16)


def best_fasttext(a, dim):
    """(rate, test accuracy), the rate chosen on the validation part."""
    def validation(lr):
        train_fasttext(a, dim, a.epochs, lr)
        return accuracy_fasttext(a, "val")
    lr = max(RATES_FASTTEXT, key=validation)
    train_fasttext(a, dim, a.epochs, lr)
    return lr, accuracy_fasttext(a)


def best_hone(a, dim):
    def validation(lr):
        train_hone(a, dim, a.epochs, lr, "val")
        return accuracy_hone(a)
    lr = max(RATES_HONE, key=validation)
    train_hone(a, dim, a.epochs, lr)
    return lr, accuracy_hone(a)


def cell(values, digits=2):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def race_training(a, words, dim):
    few, many = a.few, a.many
    rate = {"fastText": [], "hone": []}
    for _ in range(a.rounds):
        for name, train, lr in (("fastText", train_fasttext, 0.5), ("hone", train_hone, 8)):
            short = train(a, dim, few, lr)
            rate[name].append(words * (many - few) / (train(a, dim, many, lr) - short) / 1e6)
    (ft_lr, ft), (hone_lr, hone) = best_fasttext(a, dim), best_hone(a, dim)
    f, h = statistics.median(rate["fastText"]), statistics.median(rate["hone"])
    print(f"| {dim} | {cell(rate['hone'])} | {cell(rate['fastText'])} | **{h / f:.1f}** | {hone:.4f} (lr {hone_lr}) | "
          f"{ft:.4f} (lr {ft_lr}) |", flush=True)


def race_prediction(a, dim):
    lines = [r.split("\t", 1)[1] for r in (a.scratch / "test.tsv").read_text(encoding="utf8").rstrip("\n").split("\n")[1:]]
    text = a.scratch / "lines.txt"
    text.write_text("".join(lines[k % len(lines)] + "\n" for k in range(a.predict)), encoding="utf8")
    wall, cpu = {"fastText": [], "hone": []}, {"fastText": [], "hone": []}
    for _ in range(a.rounds):
        for name, command in (("fastText", [a.fasttext, "predict", a.scratch / "ft.bin", "-"]),
                              ("hone", [a.hone, "predict", a.scratch / "run", "-", "--top", "1", "--format", "csv", "--threads", "1"])):
            with open(text, "rb") as f:
                w, c, _ = timed(command, f)
            wall[name].append(w)
            cpu[name].append(c)
    ratio = [statistics.median(x["fastText"]) / statistics.median(x["hone"]) for x in (wall, cpu)]
    print(f"| {dim} | {cell(wall['hone'])} | {cell(wall['fastText'])} | {ratio[0]:.1f} | {cell(cpu['hone'])} | {cell(cpu['fastText'])} | "
          f"{ratio[1]:.1f} |", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--hone", required=True)
    p.add_argument("--fasttext", required=True)
    p.add_argument("--data", default="datasets/debian-sections", type=pathlib.Path)
    p.add_argument("--dims", default="10,100")
    p.add_argument("--rounds", default=3, type=int)
    p.add_argument("--epochs", default=5, type=int)
    p.add_argument("--few", default=1, type=int)
    p.add_argument("--many", default=21, type=int)
    p.add_argument("--predict", default=200000, type=int)
    p.add_argument("--scratch", default="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    a = p.parse_args()
    a.root = pathlib.Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory(dir=a.scratch) as scratch:
        a.scratch = pathlib.Path(scratch)
        words = prepare(a.data, a.scratch)
        print(f"{words} words an epoch, load average {os.getloadavg()[0]:.1f}, n = {a.rounds} (median, min to max)\n")
        print("| dim | hone, M words a CPU second | fastText | ratio | accuracy of hone | of fastText |\n|---|---|---|---|---|---|")
        dims = [int(d) for d in a.dims.split(",")]
        for dim in dims:
            race_training(a, words, dim)
            if dim == dims[0]:
                shutil.copytree(a.scratch / "run", a.scratch / "run0")
                shutil.copy(a.scratch / "ft.bin", a.scratch / "ft0.bin")
        shutil.rmtree(a.scratch / "run")
        (a.scratch / "run0").rename(a.scratch / "run")
        (a.scratch / "ft0.bin").rename(a.scratch / "ft.bin")
        print(f"\n| dim | {a.predict} lines: hone, s | fastText, s | ratio | hone, CPU s | fastText, CPU s | ratio |\n|---|---|---|---|---|---|---|")
        race_prediction(a, dims[0])


if __name__ == "__main__":
    main()
