#!/usr/bin/env python3
"""Everything of hone that needs a GPU, in one command: right, repeatable, accurate, fast. `./dev gpu` calls it.

usage: run.py --bin DIR [--device cuda:0] [--stages a,b,...] [--minutes 10] [--record FILE]

DIR holds hone, its plugin, test_cases and test_emulated (and lib/ with libraries that the machine may lack).
Each stage ends as ok, FAILED or skipped (with the reason); all run, whatever failed before. A table comes last, and
with --record a dated block is put on top of FILE (tests/gpu/VERIFIED.md). On another device than cuda it is a
rehearsal of this script: nothing is recorded, and nothing is said about a GPU.
Standard library only; the races need PyTorch (peers.py) and are skipped where it is missing.
"""
import argparse
import concurrent.futures
import glob
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SANITIZED_OPS = ("relu", "linear", "conv", "conv_act_maxpool", "maxpool", "batchnorm_relu", "layernorm", "softmax_xent", "attention@bf16",
                 "ragged_attention@bf16", "embedding", "embedding_bag_sgd", "sgd", "image_batch")
ACCURACY = 0.93  # of configs/fashion-cnn.yaml on the test split


class Skip(Exception):
    pass


class Failed(Exception):
    pass


class Bench:
    """Where things are, and the clock."""

    def __init__(self, args):
        self.args = args
        self.bin = pathlib.Path(args.bin).resolve()
        self.ends = time.monotonic() + 60 * args.minutes
        self.out = pathlib.Path(args.out).resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        self.env = dict(os.environ, LD_LIBRARY_PATH=os.pathsep.join([str(self.bin / "lib"), *library_folders(), os.environ.get("LD_LIBRARY_PATH", "")]))
        self.figures = {}

    def left(self):
        return self.ends - time.monotonic()

    def run(self, *words, timeout=600, env=None, check=True):
        """Output of a command; Failed with its last lines where it does not end well."""
        if self.left() < 5:
            raise Skip("no time left")
        words = [str(w) for w in words]
        try:
            done = subprocess.run(words, cwd=ROOT, env=dict(self.env, **(env or {})), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, timeout=min(timeout, self.left()))
        except subprocess.TimeoutExpired as late:
            with open(self.out / "log.txt", "a") as log:
                log.write(f"$ {' '.join(words)}\n{(late.stdout or b'').decode(errors='replace')}\n")
            raise Failed(f"{' '.join(w.rpartition('/')[2] for w in words)[-60:]}: longer than {late.timeout:.0f} s")
        with open(self.out / "log.txt", "a") as log:
            log.write(f"$ {' '.join(words)}\n{done.stdout}\n")
        if check and done.returncode:
            raise Failed(f"{pathlib.Path(words[0]).name} ended with {done.returncode}: " + " / ".join(done.stdout.strip().split("\n")[-4:]))
        return done.stdout

    def hone(self, *words, **more):
        return self.run(self.bin / "hone", *words, "--device", self.args.device, **more)


def library_folders():
    """Folders of cuDNN and cuBLASLt that came as Python packages, beside the toolkit's own."""
    found = [f for p in sys.path for f in glob.glob(os.path.join(p, "nvidia", "*", "lib"))]
    return [f for f in (*found, "/usr/local/cuda/lib64") if os.path.isdir(f)]


def environment(b):
    """What ran where: goes into the record."""
    facts = {"commit": b.args.commit or b.run("git", "rev-parse", "--short", "HEAD", check=False).strip().split("\n")[-1]}
    smi = shutil.which("nvidia-smi")
    if smi:
        words = b.run(smi, "--query-gpu=name,driver_version,memory.total,clocks.max.sm", "--format=csv,noheader").strip().split("\n")[0]
        facts.update(zip(("chip", "driver", "memory", "max SM clock"), (w.strip() for w in words.split(","))))
    nvcc = shutil.which("nvcc")
    if nvcc:
        facts["nvcc"] = re.search(r"release ([\d.]+)", b.run(nvcc, "--version")).group(1)
    torch = b.run(sys.executable, "-c", "import torch; print(torch.__version__, torch.backends.cudnn.version())", check=False)
    facts["PyTorch, its cuDNN"] = torch.strip().split("\n")[-1] if "Error" not in torch else "none"
    doctor = b.run(b.bin / "hone", "doctor")
    facts["doctor"] = "; ".join(line.strip() for line in doctor.split("\n") if b.args.device.split(":")[0] in line)
    if b.args.device.startswith("cuda") and "missing" in facts["doctor"]:
        raise Failed(facts["doctor"])
    b.figures.update(facts)
    return ", ".join(f"{k} {v}" for k, v in facts.items() if k != "doctor")


def run_case(b, job):
    """(op, storage): its cases, by a process of their own, so that a fault stops nobody else. None, or what was wrong."""
    op, storage = job
    try:
        b.run(b.bin / "test_cases", b.args.device.split(":")[0], op + storage, timeout=150)
    except Failed as why:
        return f"{op}{storage}: {why}"
    return None


def cases(b):
    """Every case of every op in each storage against ref in double; small integers to the bit, guards, twice the same bits."""
    ops = sorted(set(b.run(b.bin / "test_cases", "ops").split()))
    jobs = [(op, storage) for storage in ("", "@bf16", "@fp16") for op in ops]
    with concurrent.futures.ThreadPoolExecutor(max(1, min(12, os.cpu_count() - 2))) as pool:
        wrong = [why for why in pool.map(lambda job: run_case(b, job), jobs) if why]
    (b.out / "cases.txt").write_text("\n".join(wrong) + "\n")
    if wrong:
        raise Failed(f"{len(wrong)} of {len(jobs)} (op, storage) pairs: " + ", ".join(w.split(":")[0] for w in wrong) + "; see cases.txt")
    return f"{len(jobs)} (op, storage) pairs, all cases of each"


def training(b):
    """Two nets for 20 steps: losses follow the CPU's; recorded = eager = repeated, to the bit."""
    text = b.run(b.bin / "test_emulated", env={"HONE_TEST_DEVICE": b.args.device})
    return "; ".join(re.findall(r"[^\n]*worst relative difference[^\n]*", text))


def sanitize(b, tool, kind, op):
    """None, or what the tool says of the cases of an op; Skip where it can't work on this machine."""
    own = {} if kind == "memcheck" else {"HONE_CUDA_LIBRARIES": "own"}  # the others take minutes over cuDNN's kernels
    text = b.run(tool, "--tool", kind, "--error-exitcode", "9", b.bin / "test_cases", b.args.device.split(":")[0], op, check=False, timeout=120, env=own)
    if "not supported" in text or "Unable to" in text:
        raise Skip(f"{kind}: the machine refuses it")
    clean = "PASSED" in text and re.search(r"(ERROR SUMMARY: 0 errors|RACECHECK SUMMARY: 0 hazards)", text)
    return None if clean else f"{kind} {op}"


def sanitizer(b):
    """compute-sanitizer over one op of each kind, where the machine lets it work."""
    tool = shutil.which("compute-sanitizer")
    if not tool:
        raise Skip("no compute-sanitizer")
    done = []
    for kind in ("memcheck", "racecheck", "initcheck", "synccheck"):
        if done and b.left() < 30:
            break
        with concurrent.futures.ThreadPoolExecutor(max(1, min(12, os.cpu_count() - 2))) as pool:
            wrong = [w for w in pool.map(lambda op: sanitize(b, tool, kind, op), SANITIZED_OPS) if w]
        if wrong:
            raise Failed(", ".join(wrong) + ": see log.txt")
        done.append(kind)
    return f"{', '.join(done)}: {len(SANITIZED_OPS)} ops clean"


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def short_run(b, name, *more, env=None):
    """60 steps of fashion-quick on made-up data; the bytes of the weights that come out."""
    out = b.out / name
    shutil.rmtree(out, ignore_errors=True)
    b.hone("train", "configs/bench/cnn.yaml", "--out", out, "--quiet", "train.max_steps=60", "train.batch=128", *more, env=env)
    return digest(out / "best.safetensors")


def repeatable(b):
    """Two runs, and an eager one, end with the same bytes."""
    first = short_run(b, "repeat-1")
    if short_run(b, "repeat-2") != first:
        raise Failed("two runs of 60 steps differ")
    if short_run(b, "repeat-eager", env={"HONE_EAGER": "1"}) != first:
        raise Failed("recorded and eager runs of 60 steps differ")
    return "60 steps: run = run = eager run, to the bit"


def accuracy(b):
    """configs/fashion-cnn.yaml, trained whole, on the test split."""
    if not (ROOT / "datasets/fashion-mnist").is_dir():
        raise Skip("datasets/fashion-mnist is not here: datasets/fashion-mnist.sh brings it")
    out, begin = b.out / "fashion-cnn", time.monotonic()
    shutil.rmtree(out, ignore_errors=True)
    b.hone("train", "configs/fashion-cnn.yaml", "--out", out, "--quiet")
    seconds = time.monotonic() - begin
    report = json.loads(b.hone("eval", out, "--json", "--quiet"))
    b.figures["fashion-cnn"] = dict(accuracy=report["accuracy"], seconds=seconds)
    if report["accuracy"] < ACCURACY:
        raise Failed(f"accuracy {report['accuracy']:.4f}, at least {ACCURACY} was wanted")
    return f"accuracy {report['accuracy']:.4f} in {seconds:.0f} s, start and evaluation included"


def kernels(b):
    """Speed of each timed case, GFLOP/s and GB/s: a report."""
    text = b.run(b.bin / "test_cases", "perf", b.args.device + ":")
    (b.out / "kernels.md").write_text(text)
    return f"{sum(line.startswith('| ') for line in text.splitlines()) - 1} rows in kernels.md"


def steps(b):
    """`hone bench` of each whole step, hone alone: its table by op goes into steps.txt."""
    pages, words = json.loads((ROOT / "tests/gpu/steps.json").read_text()), []
    for page, precision, *more in pages:
        name = " ".join([page, precision, *more])
        try:
            text = b.hone("bench", f"configs/bench/{page}.yaml", "--quiet", f"train.precision={precision}", *more, timeout=90)
        except Failed as why:
            text, _ = str(why), words.append(f"{name}: FAILED")
        else:
            words.append(f"{name}: " + re.search(r"step +([\d.]+ ms)", text).group(1))
        with open(b.out / "steps.txt", "a") as f:
            f.write(f"## {name}\n{text}\n")
    if any("FAILED" in w for w in words):
        raise Failed("; ".join(words))
    return "; ".join(words)


def races(b):
    """Whole steps beside PyTorch at its best, in one run."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise Skip("no PyTorch")
    result = b.out / "races.json"
    result.unlink(missing_ok=True)
    try:
        b.run(sys.executable, ROOT / "tests/gpu/peers.py", "--hone", b.bin / "hone", "--device", b.args.device, "--json", result,
              "--rounds", b.args.rounds, "--seconds", max(60, int(b.left() - (60 if "sanitizer" in b.args.stages else 20))), *(["--loads", b.args.loads] if b.args.loads else []),
              *(["--together"] if b.args.together else []))
    finally:  # what was raced before the time was up counts
        b.figures["races"] = rows = json.loads(result.read_text()) if result.exists() else []
    return "; ".join(f"{r['load']} {r['precision']} {r['ratio']:.2f}x" for r in rows)


STAGES = (environment, cases, training, repeatable, steps, accuracy, kernels, races, sanitizer)


def block(b, results):
    """The dated entry of VERIFIED.md."""
    f = b.figures
    lines = [f"## {time.strftime('%Y-%m-%d')}, commit {f.get('commit')}, {f.get('chip')}, driver {f.get('driver')}", ""]
    lines += [f"CUDA {f.get('nvcc')}; PyTorch and its cuDNN {f.get('PyTorch, its cuDNN')}; {f.get('doctor')}", "",
              "| stage | result | seconds | figures |", "|---|---|---|---|"]
    lines += [f"| {name} | {state} | {seconds:.0f} | {text} |" for name, state, seconds, text in results]
    for r in f.get("races", []):
        if r is f["races"][0]:
            lines += ["", "| load | precision | hone samples/s: median (min to max), n | PyTorch at its best | ratio | of eager | kernels a step | TFLOP/s | TB/s | first step, s: hone (cold) | PyTorch's |",
                      "|---|---|---|---|---|---|---|---|---|---|---|"]
        h, p, eager = r["hone"], r["peer"], r["variants"].get("eager")
        of_eager = f"{h['median'] / eager['median']:.1f}" if eager else "-"
        lines.append(f"| {r['load']} | {r['precision']} | {h['median']:,.0f} ({h['min']:,.0f} to {h['max']:,.0f}), {h['n']} | {r['best']} "
                     f"{p['median']:,.0f} ({p['min']:,.0f} to {p['max']:,.0f}), {p['n']} | **{r['ratio']:.2f}** | {of_eager} | {r['kernels']} | {r['tflops']:.1f} | {r['tbps']:.2f} "
                     f"| {r['first']:.1f} ({r['first_cold']:.1f}) | {r['peer_first'][r['best']]:.0f} |")
        lines.append(f"| | | all of PyTorch's: " + ", ".join(f"{v} {x['median']:,.0f}" for v, x in r["variants"].items()) + " | | | | | | | | |")
    return "\n".join(lines) + "\n"


def record(path, text):
    """Newest first, under the page's heading."""
    page = path.read_text()
    mark = "<!-- newest first -->\n"
    if mark not in page:
        raise SystemExit(f"{path} has no line '{mark.strip()}'")
    path.write_text(page.replace(mark, mark + "\n" + text, 1))


def run_stage(b, stage):
    begin = time.monotonic()
    try:
        state, text = "ok", stage(b)
    except Skip as why:
        state, text = "skipped", str(why)
    except Failed as why:
        state, text = "FAILED", str(why)
    result = (stage.__name__, state, time.monotonic() - begin, " ".join(text.replace("|", "/").split()))
    print(f"{result[0]:<12} {state:<8} {result[2]:6.0f} s  {result[3]}", flush=True)
    return result


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--bin", required=True)
    p.add_argument("--device", default="cuda")
    p.add_argument("--stages", default=",".join(s.__name__ for s in STAGES))
    p.add_argument("--loads", default="", help="of the races: see peers.py")
    p.add_argument("--together", action="store_true", help="PyTorch compiles for all races at the same time; needs memory for all")
    p.add_argument("--rounds", type=int, default=5, help="of the races")
    p.add_argument("--minutes", type=float, default=9.5)
    p.add_argument("--out", default=str(ROOT / "build/gpu-results"))
    p.add_argument("--commit", default="", help="where the tree is not a git checkout")
    p.add_argument("--record", type=pathlib.Path)
    args = p.parse_args()
    wanted = args.stages.split(",")
    unknown = set(wanted) - {s.__name__ for s in STAGES}
    if unknown:
        raise SystemExit(f"no stage {', '.join(sorted(unknown))}; there are {', '.join(s.__name__ for s in STAGES)}")
    b = Bench(args)
    results = [run_stage(b, s) for s in STAGES if s.__name__ in wanted]
    text = block(b, results)
    (b.out / "block.md").write_text(text)
    print("\n" + text)
    rehearsal = not args.device.startswith("cuda")
    if args.record and rehearsal:
        print(f"a rehearsal on {args.device}: nothing is recorded")
    elif args.record:
        record(args.record, text)
    return any(state == "FAILED" for _, state, _, _ in results)


sys.exit(main())
