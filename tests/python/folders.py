#!/usr/bin/env python3
"""Exported folders of safetensors as the Python packages read them.

usage: folders.py BUILD

The package `safetensors` reads every array of an export with the bits that hone trained, in fp32, and the nearest ones
in bf16 and fp16. Where torch is there, a ResNet-18 that hone trained is loaded back by torchvision, timm and
transformers, whichever is installed, with the same answers: logarithms of probabilities within 1e-4. So are BERT and
DistilBERT by AutoModelForSequenceClassification, their texts cut into the same ids by AutoTokenizer; a net that is
neither is not loaded as one. Says what it left out; without safetensors and numpy it exits with 77, which ctest calls skipped.
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


def check_encoder(hone, scratch, name, dtype="fp32", limit=1e-4):
    """A net of the text zoo (random weights): no array too many or missing, the ids and the answers of hone."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    net, folder = scratch / name, scratch / f"{name}-{dtype}"
    run(hone.parent / "tests" / "onnx_dump", "text", name, "small", net, 40)
    run(hone, "export", net, "--to", "safetensors", "--dtype", dtype, "-o", folder)
    rows = [json.loads(line) for line in (net / "texts.jsonl").read_text().splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model, said = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    assert not any(said[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")), said
    assert model.config.id2label[3] == "c3"
    pairs = [[r["second"] for r in rows]] if "second" in rows[0] else []
    batch = tokenizer([r["text"] for r in rows], *pairs, padding=True, truncation=True, return_tensors="pt")
    for k, r in enumerate(rows):
        live = batch["attention_mask"][k].bool()
        assert batch["input_ids"][k][live].tolist() == r["ids"], (name, r["text"])
        if "token_type_ids" in batch:
            assert batch["token_type_ids"][k][live].tolist() == r["types"], (name, r["text"])
    want = np.log(np.array([r["probability"] for r in rows]))
    with torch.no_grad():
        got = torch.log_softmax(model.eval()(**batch).logits.double(), 1).numpy()
        batch["attention_mask"][:] = 1  # planted: padding taken for tokens must show
        wrong = torch.log_softmax(model(**batch).logits.double(), 1).numpy()
    off = float(np.abs(got - want).max())
    print(f"transformers loads {type(model).__name__} ({dtype}): {len(rows)} texts, the same ids, logits within {off:.2g}")
    assert off <= limit and np.abs(wrong - want).max() > 1e-2, name


def check_encoders(hone, scratch):
    import transformers
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for name in ("bert_base", "bert_single", "distilbert"):
        check_encoder(hone, scratch, name)
    check_encoder(hone, scratch, "bert_base", "bf16", 0.5)
    # a mean in place of the first token: as a BertForSequenceClassification it would answer something else
    folder = scratch / "minilm"
    run(hone.parent / "tests" / "onnx_dump", "text", "minilm_l6", "small", scratch / "minilm_l6", 1)
    run(hone, "export", scratch / "minilm_l6", "--to", "safetensors", "-o", folder)
    try:
        transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    except ValueError as e:
        assert "model_type" in str(e), e
        print("transformers refuses MiniLM's mean under a classifier, which it has no net for")
    else:
        sys.exit("minilm_l6 was loaded as another net")


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
            if importlib.util.find_spec("transformers") is None:
                print("left out: transformers is not installed, so no BERT is loaded back")
            else:
                check_encoders(hone, scratch)


main()
