#!/usr/bin/env python3
"""Makes tests/golden/encoder.txt: what PyTorch says about the net of tests/test_ragged.c.

    python3 tests/golden/make_encoder.py > tests/golden/encoder.txt

Needs numpy and torch. In double; each text goes through nn.TransformerEncoderLayer alone, so nothing is padded or masked.
One line a value: norm, parameter of hone (or "loss"), sum(cos(i + 1) g_i) of its gradient, length of the gradient.
"""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
VOCAB, LONGEST, DIM, HEADS, FF, LAYERS, CLASSES = 17, 130, 12, 3, 20, 2, 3
OFFSETS, LABELS = [0, 0, 1, 8, 137], [0, 1, 2, 1]
NAMES = {"norm1.weight": "norm1.weight", "norm1.bias": "norm1.bias", "attn.qkv.weight": "self_attn.in_proj_weight",
         "attn.qkv.bias": "self_attn.in_proj_bias", "attn.proj.weight": "self_attn.out_proj.weight",
         "attn.proj.bias": "self_attn.out_proj.bias", "norm2.weight": "norm2.weight", "norm2.bias": "norm2.bias",
         "mlp.fc1.weight": "linear1.weight", "mlp.fc1.bias": "linear1.bias", "mlp.fc2.weight": "linear2.weight",
         "mlp.fc2.bias": "linear2.bias"}


def value(name, shape):
    i = np.arange(int(np.prod(shape)), dtype=np.float64)
    size, center = (0.4 if len(shape) > 1 else 0.1), (1.0 if len(shape) == 1 and "weight" in name else 0.0)
    v = center + size * np.sin(0.7 * i + 1.3 * len(name) + 0.1)
    return torch.tensor(v.astype(np.float32).astype(np.float64)).reshape(shape)


def run(norm):
    made = {}
    table, places, last = nn.Embedding(VOCAB, DIM), nn.Embedding(LONGEST, DIM), nn.LayerNorm(DIM)
    head = nn.Linear(DIM, CLASSES)
    layers = [nn.TransformerEncoderLayer(DIM, HEADS, FF, 0.0, "gelu", batch_first=True, norm_first=norm == "pre")
              for _ in range(LAYERS)]
    made["embedding.weight"], made["position.weight"] = table.weight, places.weight
    for k, layer in enumerate(layers):
        own = dict(layer.named_parameters())
        made.update({f"blocks.{k}.{ours}": own[theirs] for ours, theirs in NAMES.items()})
    made.update({"norm.weight": last.weight, "norm.bias": last.bias, "head.weight": head.weight, "head.bias": head.bias})
    with torch.no_grad():
        for name, p in made.items():
            p.copy_(value(name, tuple(p.shape)))
    i = torch.arange(OFFSETS[-1])
    token, rows = (i * i + 3 * i) % VOCAB, []
    for a, b in zip(OFFSETS[:-1], OFFSETS[1:]):
        if a == b:
            rows.append(torch.zeros(DIM))
            continue
        x = (table(token[a:b]) + places.weight[:b - a])[None]
        for layer in layers:
            x = layer(x)
        rows.append(last(x)[0].mean(0))
    loss = F.cross_entropy(head(torch.stack(rows)), torch.tensor(LABELS))
    loss.backward()
    print(norm, "loss", f"{float(np.cos(1.0)) * loss.item():.12g}", f"{loss.item():.12g}")
    for name, p in made.items():
        g = p.grad.reshape(-1).numpy()
        print(norm, name, f"{float(np.dot(np.cos(np.arange(1, g.size + 1.0)), g)):.12g}", f"{np.linalg.norm(g):.12g}")


run("pre")
run("post")
