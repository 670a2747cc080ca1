#!/usr/bin/env python3
"""Exported folders of safetensors as the Python packages read them.

usage: folders.py BUILD

The package `safetensors` reads every array of an export with the bits that hone trained, in fp32, and the nearest ones
in bf16 and fp16. Where torch is there, a ResNet-18 that hone trained is loaded back by torchvision, timm and
transformers, whichever is installed, with the same answers: logarithms of probabilities within 1e-4. Says what it
left out; without safetensors and numpy it exits with 77, which ctest calls skipped.
"""
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

REPO = pathlib.Path(__file__).resolve().parents[2]
OWN = REPO / "build" / "python" / "bin" / "python"
if OWN.exists() and "build/python" not in sys.prefix and not os.environ.get("HONE_PYTHON_AS_IS"):
    os.execv(OWN, [str(OWN), *sys.argv])  # the environment that ./dev python made

try:
    import numpy as np
    from safetensors.numpy import load_file
except ImportError as e:
    print(f"folders.py: skipped, exported folders are not read by the safetensors package: {e} (./dev python installs it)")
    sys.exit(77)

PAGE = """task: image
data: {{synthetic: {{shape: [48, 48, 3], classes: 5, samples: 24}}}}
image: {{mean: [0.4, 0.5, 0.6], std: [0.2, 0.3, 0.25]}}
model: {{file: {repo}/configs/models/{net}.yaml}}
train: {{epochs: 1, batch: 8, optimizer: {{name: sgd, lr: 0.005}}}}
"""


def run(*command):
    r = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if r.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {r.returncode}\n{r.stdout}{r.stderr}")
    return r.stdout


def nearest_bf16(x):
    bits = x.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def bf16_arrays(path):
    """The raw 16 bits: numpy has no bf16, so the header is read here."""
    data = path.read_bytes()
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + n])
    return {k: np.frombuffer(data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]], np.uint16).reshape(v["shape"])
            for k, v in header.items() if v.get("dtype") == "BF16"}


def check_bits(hone, run_dir, scratch):
    want = load_file(run_dir / "best.safetensors")
    for dtype in ("fp32", "fp16", "bf16"):
        run(hone, "export", run_dir, "--to", "safetensors", "--dtype", dtype, "-o", scratch / dtype)
    full, half, brain = load_file(scratch / "fp32/model.safetensors"), load_file(scratch / "fp16/model.safetensors"), bf16_arrays(scratch / "bf16/model.safetensors")
    for name, x in want.items():
        assert full[name].dtype == np.float32 and (full[name].view(np.uint32) == x.view(np.uint32)).all(), name
        assert (half[name].view(np.uint16) == x.astype(np.float16).view(np.uint16)).all(), name
        assert (brain[name] == nearest_bf16(x)).all(), name
    counters = [n for n in full if n not in want]
    assert len(counters) == 20 and all(n.endswith("num_batches_tracked") and full[n].shape == () for n in counters), counters
    spoiled = want["fc.bias"].copy()
    spoiled.view(np.uint32)[0] ^= 1  # the comparison sees one bit
    assert not (full["fc.bias"].view(np.uint32) == spoiled.view(np.uint32)).all()
    return len(want)


def answers(hone, model, pictures):
    rows = [json.loads(line) for line in run(hone, "predict", model, *pictures, "--format", "jsonl", "--top", "5").splitlines()]
    return np.log([[{t["label"]: t["score"] for t in r["top"]}[str(k)] for k in range(5)] for r in rows])


def check_loaders(hone, scratch):
    import torch
    paths, pixels = [], rng_pixels(3)
    for k, p in enumerate(pixels):
        paths.append(scratch / f"{k}.ppm")
        paths[-1].write_bytes(b"P6\n48 48\n255\n" + p.tobytes())
    want = answers(hone, scratch / "fp32", paths)
    mean, std = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1), torch.tensor([0.2, 0.3, 0.25]).view(1, 3, 1, 1)
    x = (torch.tensor(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255 - mean) / std

    def torchvision_net():
        import safetensors.torch
        import torchvision
        net = torchvision.models.resnet18(num_classes=5)
        net.load_state_dict(safetensors.torch.load_file(scratch / "fp32/model.safetensors"))
        return net

    def timm_net():
        import timm
        return timm.create_model(f"local-dir:{scratch / 'fp32'}", pretrained=True)

    def transformers_net():
        from transformers import AutoModelForImageClassification
        net = AutoModelForImageClassification.from_pretrained(scratch / "fp32")
        assert net.config.id2label[3] == "3"
        return net

    for name, make in (("torchvision", torchvision_net), ("timm", timm_net), ("transformers", transformers_net)):
        if importlib.util.find_spec(name) is None:
            print(f"left out: {name} is not installed")
            continue
        with torch.no_grad():
            y = make().eval()(x)
        y = getattr(y, "logits", y)
        off = float(np.abs(torch.log_softmax(y.double(), 1).numpy() - want).max())
        print(f"{name} loads ResNet-18: logits within {off:.2g}")
        assert off <= 1e-4, name


def rng_pixels(count):
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (48, 48, 3), dtype=np.uint8) for _ in range(count)]


def main():
    hone = pathlib.Path(sys.argv[1]).resolve() / "hone"
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        (scratch / "page.yaml").write_text(PAGE.format(repo=REPO, net="resnet18"))
        run(hone, "train", scratch / "page.yaml", "--out", scratch / "run", "--quiet", "--device", "cpu")
        print(f"safetensors reads {check_bits(hone, scratch / 'run', scratch)} arrays to the bit, in three types")
        if importlib.util.find_spec("torch") is None:
            print("left out: torch is not installed, so no framework loads the folder back")
        else:
            check_loaders(hone, scratch)


main()
