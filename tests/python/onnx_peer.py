"""What the comparisons with onnxruntime share: the environment of ./dev python, commands, sessions, padded texts."""
import os
import pathlib
import subprocess
import sys

OWN = pathlib.Path(__file__).resolve().parents[2] / "build" / "python" / "bin" / "python"
if OWN.exists() and "build/python" not in sys.prefix:
    os.execv(OWN, [str(OWN), *sys.argv])  # the environment that ./dev python made

try:
    import numpy as np
    import onnx
    import onnxruntime as ort
except ImportError as e:
    print(f"{pathlib.Path(sys.argv[0]).name}: skipped, exports are not compared with onnxruntime: {e} (./dev python installs it)")
    sys.exit(77)

STYLES = {"exact": 0, "behind": 5, "before": 3, "both": 6, "between": 9}  # where padding stands, and how much of it


def run(*command, stdin=None, environment=None, code=0):
    """Standard output of a command; any other exit code than `code` ends the comparison with what it said."""
    r = subprocess.run([str(c) for c in command], input=stdin, capture_output=True, text=True, env=os.environ | (environment or {}))
    if r.returncode != code:
        sys.exit(f"{' '.join(map(str, command))}: exit {r.returncode}, expected {code}\n{r.stdout}{r.stderr}")
    return r.stdout


def session(path, threads=2):
    """onnxruntime on a file that onnx's full check accepts."""
    onnx.checker.check_model(str(path), full_check=True)
    o = ort.SessionOptions()
    o.intra_op_num_threads = threads
    o.log_severity_level = 3
    return ort.InferenceSession(str(path), o, providers=["CPUExecutionProvider"])


def answers(s, feeds):
    """Probabilities (N, classes); of feeds, what the file has inputs for."""
    return s.run(["probabilities"], {i.name: feeds[i.name] for i in s.get_inputs()})[0]


def in_batches(s, feeds, batch):
    n = len(next(iter(feeds.values())))
    return np.concatenate([answers(s, {k: v[i:i + batch] for k, v in feeds.items()}) for i in range(0, n, batch)])


def padded(rows, vocab, style, rng):
    """ids, mask and types (N, L) of some texts; the places of padding hold any ids and either segment."""
    length = max([len(r["ids"]) for r in rows] + [1]) + STYLES[style]
    ids = rng.integers(0, vocab, (len(rows), length))
    types, mask = rng.integers(0, 2, ids.shape), np.zeros(ids.shape, np.int64)
    for k, r in enumerate(rows):
        n = len(r["ids"])
        if style in ("exact", "behind"):
            at = np.arange(n)
        elif style == "before":
            at = np.arange(n) + length - n
        elif style == "both":
            at = np.arange(n) + (length - n) // 2
        else:
            at = np.sort(rng.choice(length, n, replace=False))
        ids[k, at], types[k, at], mask[k, at] = r["ids"], r["types"], 1
    return {"input_ids": ids.astype(np.int64), "attention_mask": mask, "token_type_ids": types.astype(np.int64)}


def flat(ids):
    """The inputs of a bag: all ids in a row, and where each text begins."""
    return {"input_ids": np.array([t for i in ids for t in i], np.int64), "offsets": np.cumsum([0] + [len(i) for i in ids[:-1]]).astype(np.int64)}


def logarithms(p):
    return np.log(np.maximum(p, 1e-26).astype(np.float64))


def check_spread(name, want, least=0.005):
    """Answers that hardly depend on the input would prove nothing."""
    spread = float(np.abs(logarithms(want) - logarithms(want).mean(0)).max())
    if spread < least:
        sys.exit(f"{name}: logarithms of different samples' probabilities are within {spread:.3g}")


def compare(name, got, want, limit, worst):
    """Probabilities within the limit and the same winner; worst[name] keeps the largest difference. Of a thousand classes
    each has a thousandth, so their logarithms are compared too: ten times the limit, which is what logits are held to
    beside other packages (beyond -60 they say nothing)."""
    d = float(np.abs(got - want).max())
    worst[name] = max(worst.get(name, 0.0), d)
    if not d <= limit:
        sys.exit(f"{name}: probabilities differ by {d:.3g}, at most {limit:g}")
    r = float(np.abs(logarithms(got) - logarithms(want)).max())
    if not r <= 10 * limit:
        sys.exit(f"{name}: logarithms of probabilities differ by {r:.3g}, at most {10 * limit:g}")
    # a tie within rounding has no winner
    top = np.sort(want, axis=1)
    clear = top[:, -1] - top[:, -2] > 2 * limit if want.shape[1] > 1 else np.ones(len(want), bool)
    if not (got.argmax(1) == want.argmax(1))[clear].all():
        sys.exit(f"{name}: arg max differs")
