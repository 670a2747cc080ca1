#!/usr/bin/env python3
"""Makes bert.json: tiny BERT, DistilBERT and MiniLM of the `transformers` package, which tests/test_bert.c must follow:
logits of the first batch to 1e-4, the losses of 20 fine-tuning steps (AdamW, dropout off) to 1e-3.

usage: make_bert.py > bert.json                     needs torch, transformers; the test needs none
       make_bert.py full FOLDER bert|distilbert     a random model of the published size into FOLDER, with texts and logits
       make_bert.py full FOLDER minilm WEIGHTS      the same of the folder WEIGHTS (sentence-transformers/all-MiniLM-L6-v2)
       make_bert.py check RUN                       whether transformers reads a run's weights by name

Weights are drawn on both sides (philox.py), so only names, shapes, texts and figures are committed.
"""
import json
import os
import sys
import tempfile

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import transformers
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from philox import fill, philox_uniform

STEPS, BATCH, CLASSES, LENGTH, SEED = 20, 8, 3, 24, 4321
WORDS = ("the a an of to in is it that was for on are as with his they at be this have from or one had by word but not "
         "what all were we when your can said there use each which she do how their if will up other about out many "
         "then them these so some her would make like him into time has look two more write go see number way could "
         "people my than first water been call who oil its now find long down day did get come made may part").split()
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + WORDS + ["##s", "##ing", "##er"]
TINY = dict(vocab_size=len(VOCAB), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
            max_position_embeddings=LENGTH, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


class MeanPooled(nn.Module):
    """MiniLM as it is fine-tuned here: BertModel under its own names, mean over the tokens, one linear layer."""

    def __init__(self, config, body=None):
        super().__init__()
        body = body or BertModel(config, add_pooling_layer=False)
        self.embeddings, self.encoder, self.body = body.embeddings, body.encoder, [body]
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        h = self.body[0](input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state
        m = attention_mask.unsqueeze(-1).to(h.dtype)
        logits = self.classifier((h * m).sum(1) / m.sum(1))
        return transformers.modeling_outputs.SequenceClassifierOutput(logits=logits)


def tiny(kind):
    if kind == "distilbert":
        return DistilBertForSequenceClassification(DistilBertConfig(
            vocab_size=len(VOCAB), dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=LENGTH,
            dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0, num_labels=CLASSES))
    config = BertConfig(**TINY, num_labels=CLASSES)
    return BertForSequenceClassification(config) if kind == "bert" else MeanPooled(config)


def sentence(seed, most):
    """A few words, some with an ending that makes a piece of its own, some unknown."""
    u = philox_uniform(seed, 80, 2 * most + 1)
    out = []
    for k in range(1 + int(u[0] * most)):
        word = WORDS[int(u[2 * k + 1] * len(WORDS))]
        out.append(word + ["", "", "", "s", "ing", "er", "zzz"][int(u[2 * k + 2] * 7)])
    return " ".join(out)


def data(pairs):
    texts = [sentence(SEED + 2 * k, 12) for k in range(STEPS // 2 * BATCH)]
    second = [sentence(SEED + 2 * k + 1, 8) for k in range(len(texts))] if pairs else None
    labels = [int(u * CLASSES) for u in philox_uniform(SEED, 79, len(texts))]
    return texts, second, labels


def tokenizer():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "vocab.txt")
        with open(path, "w") as f:
            f.write("\n".join(VOCAB) + "\n")
        return BertTokenizerFast(vocab_file=path, vocab=path, do_lower_case=True)


def encode(tok, texts, second, most, kind):
    e = tok(texts, second, padding=True, truncation=True, max_length=most, return_tensors="pt")
    if kind == "distilbert":
        e.pop("token_type_ids", None)
    return e


def run(kind, pairs, opt, dtype):
    torch.manual_seed(0)
    net = tiny(kind).to(dtype).train()
    with torch.no_grad():
        for name, v in net.named_parameters():
            v.copy_(fill(name, tuple(v.shape)))
    decays = [p for p in net.parameters() if p.ndim > 1]  # hone spares biases and norm parameters
    spared = [p for p in net.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW([dict(params=decays, weight_decay=opt["weight_decay"]),
                                   dict(params=spared, weight_decay=0.0)], lr=opt["lr"])
    tok, (texts, second, labels) = tokenizer(), data(pairs)
    losses, logits, ids = [], None, None
    for step in range(STEPS):  # two epochs of ten batches, in file order
        k = step % (STEPS // 2) * BATCH
        e = encode(tok, texts[k:k + BATCH], second[k:k + BATCH] if pairs else None, LENGTH, kind)
        out = net(**e).logits
        if step == 0:
            logits = out.detach().tolist()
            ids = [[int(i) for i, m in zip(row, mask) if m] for row, mask in zip(e["input_ids"], e["attention_mask"])]
        loss = F.cross_entropy(out, torch.tensor(labels[k:k + BATCH]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    shapes = {n: list(v.shape) for n, v in net.named_parameters()}
    return dict(pairs=pairs, optimizer=opt, losses=losses, logits=logits, ids=ids, shapes=shapes, texts=texts,
                second=second, labels=labels)


def goldens():
    cases = {}
    for kind, pairs in (("bert", True), ("distilbert", False), ("minilm", False)):
        opt = dict(lr=1e-3, weight_decay=0.01)
        cases[kind], exact = run(kind, pairs, opt, torch.float32), run(kind, pairs, opt, torch.float64)
        drift = max(abs(a - b) / abs(b) for a, b in zip(cases[kind]["losses"], exact["losses"]))
        cases[kind]["drift"] = drift
        print(f"{kind}: first {cases[kind]['losses'][0]:.6f} last {cases[kind]['losses'][-1]:.6f} drift {drift:.1e}",
              file=sys.stderr)
    json.dump(dict(transformers=transformers.__version__, torch=torch.__version__, vocab=VOCAB, length=LENGTH,
                   batch=BATCH, cases=cases), sys.stdout, separators=(",", ":"))
    print()


def full(folder, kind, weights=None):
    """A folder as people have it, texts.tsv, and logits.json: the figures that hone must give for them."""
    os.makedirs(folder, exist_ok=True)
    torch.manual_seed(0)
    if kind == "minilm":
        config = BertConfig.from_pretrained(weights, num_labels=CLASSES)
        net = MeanPooled(config, BertModel.from_pretrained(weights, add_pooling_layer=False))
        tok = BertTokenizerFast.from_pretrained(weights)
    else:
        tok = tokenizer()
        net = (BertForSequenceClassification(BertConfig(num_labels=CLASSES)) if kind == "bert" else
               DistilBertForSequenceClassification(DistilBertConfig(num_labels=CLASSES)))
    net.eval()
    texts, _, labels = data(False)
    texts = [" ".join(texts[k:k + 1 + k % 5]) for k in range(64)]
    with torch.no_grad():
        logits = net(**encode(tok, texts, None, 512, kind)).logits
    from safetensors.torch import save_file
    save_file({n: v.contiguous() for n, v in net.state_dict().items()}, os.path.join(folder, "model.safetensors"),
              metadata=dict(format="pt"))
    if kind == "minilm":
        config.save_pretrained(folder)
        tok.save_pretrained(folder)
    else:
        net.config.save_pretrained(folder)
        words = VOCAB + [f"[unused{k}]" for k in range(net.config.vocab_size - len(VOCAB))]
        with open(os.path.join(folder, "vocab.txt"), "w") as f:
            f.write("\n".join(words) + "\n")
    with open(os.path.join(folder, "texts.tsv"), "w") as f:
        f.write("label\ttext\n" + "".join(f"c{l}\t{t}\n" for l, t in zip(labels, texts)))
    with open(os.path.join(folder, "logits.json"), "w") as f:
        json.dump(dict(labels=labels[:64], logits=logits.tolist()), f)


def check(folder):
    """Loads RUN/best.safetensors into the package's own class: every name must be known, none may be missing."""
    from safetensors.torch import load_file
    state = load_file(os.path.join(folder, "best.safetensors"))
    kind = "distilbert" if any(n.startswith("distilbert") for n in state) else "bert" if "bert.pooler.dense.weight" in state else "minilm"
    layers = 1 + max(int(n.split("layer.")[1].split(".")[0]) for n in state if "layer." in n)
    word = next(v for n, v in state.items() if n.endswith("word_embeddings.weight"))
    place = next(v for n, v in state.items() if n.endswith("position_embeddings.weight"))
    ff = next(v for n, v in state.items() if n.endswith(("intermediate.dense.weight", "lin1.weight"))).shape[0]
    classes = state["classifier.weight"].shape[0]
    if kind == "distilbert":
        net = DistilBertForSequenceClassification(DistilBertConfig(
            vocab_size=word.shape[0], dim=word.shape[1], n_layers=layers, n_heads=4, hidden_dim=ff,
            max_position_embeddings=place.shape[0], num_labels=classes))
    else:
        config = BertConfig(vocab_size=word.shape[0], hidden_size=word.shape[1], num_hidden_layers=layers,
                            num_attention_heads=4, intermediate_size=ff, max_position_embeddings=place.shape[0],
                            num_labels=classes)
        net = BertForSequenceClassification(config) if kind == "bert" else MeanPooled(config)
    missing, unexpected = net.load_state_dict(state, strict=False)
    print(f"{kind}: {len(state)} arrays, missing {list(missing)}, unexpected {list(unexpected)}")


if len(sys.argv) > 2 and sys.argv[1] == "full":
    full(*sys.argv[2:])
elif len(sys.argv) > 2 and sys.argv[1] == "check":
    check(sys.argv[2])
else:
    goldens()
