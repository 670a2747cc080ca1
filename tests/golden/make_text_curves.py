#!/usr/bin/env python3
"""Makes text_curves.json: PyTorch's losses over the first 20 steps of a small TextCNN and a small bidirectional GRU on
texts of different lengths, which tests/test_text_curves.c must follow to 1e-4 at each step.

usage: make_text_curves.py > text_curves.json        needs what make_curves.py needs; the test needs none

Texts are drawn on both sides from Philox, as weights are (make_curves.py). The GRU runs on packed sequences, the
convolutions on each text alone: nothing is padded here either.
"""
import json
import sys
from collections import Counter

import numpy as np
import torch
import torch.nn as nn

from make_curves import ADAMW, SGD, STEPS, fill, philox_uniform, train

CLASSES, WORDS, LONGEST, BATCH = 5, 40, 24, 16
KERNELS = [2, 3, 5]


def texts(samples):
    """Words of each text, and its label: a word of its class stands at the end of all but the empty ones."""
    length = (philox_uniform(1234, 80, samples) * np.float32(LONGEST)).astype(np.int64)
    word = (philox_uniform(1234, 81, samples * LONGEST) * np.float32(WORDS)).astype(np.int64).reshape(samples, LONGEST)
    label = (philox_uniform(1234, 82, samples) * np.float32(CLASSES)).astype(np.int64)
    made = [[f"w{w:02d}" for w in word[i, :length[i]]] + [f"mark{label[i]}"] for i in range(samples)]
    return made, torch.from_numpy(label)


def ids(made):
    """The ngram tokenizer's ids of single words: by count, equal counts by their bytes."""
    count = Counter(w for text in made for w in text)
    place = {w: k for k, w in enumerate(sorted(count, key=lambda w: (-count[w], w)))}
    return [torch.tensor([place[w] for w in text]) for text in made], len(place)


class TextCnn(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.emb = nn.Embedding(vocab, 16)
        self.convs = nn.ModuleList([nn.Conv1d(16, 12, k, padding="same") for k in KERNELS])
        self.fc = nn.Linear(12 * len(KERNELS), CLASSES)

    def forward(self, batch):
        rows = []
        for text in batch:
            x = self.emb(text).t()[None]
            rows.append(torch.cat([torch.relu(c(x)).amax(2) for c in self.convs], 1))
        return self.fc(torch.cat(rows))


class Gru(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.emb = nn.Embedding(vocab, 16)
        self.rnn = nn.GRU(16, 12, bidirectional=True)
        self.fc = nn.Linear(24, CLASSES)

    def forward(self, batch):
        packed = nn.utils.rnn.pack_sequence([self.emb(t) for t in batch], enforce_sorted=False)
        return self.fc(torch.stack([y.amax(0) for y in nn.utils.rnn.unpack_sequence(self.rnn(packed)[0])]))


CASES = [  # name, net, optimizer, smoothing, clip
    ("textcnn-sgd", TextCnn, dict(SGD, lr=0.05), 0.1, 0),
    ("textcnn-adamw", TextCnn, ADAMW, 0.0, 1.0),
    ("gru-sgd", Gru, dict(SGD, lr=0.05, nesterov=True), 0.1, 1.0),
    ("gru-adamw", Gru, ADAMW, 0.1, 0),
]


def run(make, opt, smoothing, clip, dtype):
    made, label = texts(STEPS // 2 * BATCH)
    batch, vocab = ids(made)
    net = make(vocab).to(dtype)
    with torch.no_grad():
        for name, v in net.state_dict().items():
            v.copy_(fill(name, tuple(v.shape)))
    losses = train(net, lambda k: net(batch[k * BATCH:(k + 1) * BATCH]), lambda k: label[k * BATCH:(k + 1) * BATCH], opt,
                   smoothing, None, clip, dtype)
    return losses, {n: list(v.shape) for n, v in net.state_dict().items()}


out = {}
for name, make, opt, smoothing, clip in CASES:
    losses, shapes = run(make, opt, smoothing, clip, torch.float32)
    exact, _ = run(make, opt, smoothing, clip, torch.float64)
    drift = max(abs(a - b) / abs(b) for a, b in zip(losses, exact))
    print(f"{name}: first {losses[0]:.6f} last {losses[-1]:.6f} float drift {drift:.1e}", file=sys.stderr)
    out[name] = dict(optimizer=opt, smoothing=smoothing, clip=clip, losses=losses, drift=drift, shapes=shapes)
json.dump(dict(torch=torch.__version__, steps=STEPS, batch=BATCH, cases=out), sys.stdout, separators=(",", ":"))
print()
