#!/usr/bin/env python3
"""Makes tests/golden/ops.txt: what PyTorch says about the cases of tests/cases.def.

    build/tests/test_cases dump | python3 tests/golden/make_ops.py > tests/golden/ops.txt

Needs numpy and torch (any recent one, CPU); the tests read only the text. All in double. One line an output:
op, shapes, number, "out" or "in" (written in place), index, sum(cos(i + 1) y_i) in hone's memory order.
"""
import json
import sys

import numpy as np
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
ACTS = [lambda x, s: x, lambda x, s: F.relu(x), lambda x, s: F.relu6(x), lambda x, s: F.leaky_relu(x, s),
        lambda x, s: F.gelu(x), lambda x, s: F.gelu(x, approximate="tanh"), lambda x, s: F.silu(x),
        lambda x, s: torch.tanh(x), lambda x, s: torch.sigmoid(x)]
POINTWISE = dict(relu=1, relu6=2, leaky_relu=3, gelu=4, gelu_tanh=5, silu=6, tanh=7, sigmoid=8)


def nchw(x):
    return x.permute(0, 3, 1, 2)


def nhwc(x):
    return x.permute(0, 2, 3, 1)


def conv(case, x, w, b):
    v = case["window"]
    return nhwc(F.conv2d(nchw(x), nchw(w), b, v["stride"], v["pad"], v["dilation"], v["groups"]))


def maxpool(v, x):
    return nhwc(F.max_pool2d(nchw(x), v["kernel"], v["stride"], v["pad"], v["dilation"]))


def batchnorm(case, x, gamma, beta, mean, var, r=None, relu=None):
    mean, var = mean.clone(), var.clone()
    channels = x.reshape(-1, x.shape[-1])
    if channels.shape[0] == 1:
        return {}  # PyTorch refuses one value a channel
    y = F.batch_norm(channels, mean, var, gamma, beta, True, case["momentum"], case["eps"]).reshape(x.shape)
    y = y if r is None else y + r
    return {("out", 0): relu(y) if relu else y, ("in", 3): mean, ("in", 4): var}


def batchnorm_infer(case, x, gamma, beta, mean, var, r=None, relu=None):
    y = F.batch_norm(x.reshape(-1, x.shape[-1]), mean, var, gamma, beta, False, 0, case["eps"]).reshape(x.shape)
    y = y if r is None else y + r
    return {("out", 0): relu(y) if relu else y}


def attention(case, qkv):
    n, t, c3 = qkv.shape
    q, k, v = qkv.reshape(n, t, 3, case["heads"], -1).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, c3 // 3)


def cross_entropy(case, logits, label, row_weight, class_weight):
    """PyTorch knows no row weights: where all are equal it is F.cross_entropy, else the sum over rows."""
    rows = F.cross_entropy(logits, label, class_weight, reduction="none")
    out = {("out", 1): F.cross_entropy(logits, label, reduction="none")}
    if row_weight is None:
        loss = F.cross_entropy(logits, label, class_weight, label_smoothing=case["smoothing"])
    else:
        rows = F.cross_entropy(logits, label, class_weight, reduction="none", label_smoothing=case["smoothing"])
        w = torch.ones(logits.shape[1]) if class_weight is None else class_weight
        loss = (row_weight * rows).sum() / (row_weight * w[label]).sum()
    out[("out", 0)] = loss.reshape(1)
    return out


def mixed_cross_entropy(case, op, logits, label, row_weight, class_weight, step, other, share):
    """Two labels a row: PyTorch's targets of probabilities; weighted, the sum over twice the rows."""
    logits = logits.clone().requires_grad_()
    if row_weight is None and class_weight is None:
        one = F.one_hot(label, logits.shape[1]) * share[:, None] + F.one_hot(other, logits.shape[1]) * (1 - share[:, None])
        loss = F.cross_entropy(logits, one, label_smoothing=case["smoothing"])
    else:
        r = torch.ones(len(label)) if row_weight is None else row_weight
        twice = cross_entropy(case, torch.cat([logits, logits]), torch.cat([label, other]),
                              torch.cat([r * share, r * (1 - share)]), class_weight)
        loss = twice[("out", 0)].sum()
    plain = [F.cross_entropy(logits, t, reduction="none") for t in (label, other)]
    out = {("out", 0): loss.reshape(1), ("out", 1): share * plain[0] + (1 - share) * plain[1]}
    if op == "softmax_xent_both":
        out[("out", 2)] = torch.autograd.grad(loss, logits)[0] * case["loss_scale"]
    return out


def segments(raw):
    kind = np.dtype([("begin", "<i8"), ("count", "<i8"), ("decay", "<i4"), ("lr_scale", "<f4")])
    return np.frombuffer(bytes(int(b) for b in raw.reshape(-1)), dtype=kind)


def ema_share(case):
    """1 - the decay, a float, as tf.train.ExponentialMovingAverage warms it up."""
    return 1 - min(case["update"]["ema_decay"], float(np.float32((1 + case["updates"]) / (10 + case["updates"]))))


def update(case, name, p, grad, segment, slot0, slot1, ema):
    """torch.optim over one parameter a segment, from the state that the case starts with."""
    if not case["finite"]:
        return {}
    u, p, grad = case["update"], p.clone(), grad / case["loss_scale"]
    if u["clip_norm"] > 0:  # clip_grad_norm_ with the norm that the step block holds
        grad *= min(1.0, u["clip_norm"] / (case["grad_norm"] + 1e-6))
    slot0 = None if slot0 is None else slot0.clone()
    slot1 = None if slot1 is None else slot1.clone()
    ema = None if ema is None else ema.clone()
    for s in segments(segment):
        part = slice(int(s["begin"]), int(s["begin"] + s["count"]))
        q = torch.nn.Parameter(p[part].clone())
        q.grad = grad[part].clone()
        lr, decay = case["lr"] * float(s["lr_scale"]), u["weight_decay"] if s["decay"] else 0.0
        if name == "sgd":
            opt = torch.optim.SGD([q], lr, u["momentum"], 0, decay, bool(u["nesterov"]))
            if slot0 is not None and case["updates"] > 0:
                opt.state[q]["momentum_buffer"] = slot0[part].clone()
        else:
            opt = torch.optim.AdamW([q], lr, (u["beta1"], u["beta2"]), u["eps"], decay)
            opt.state[q] = dict(step=torch.tensor(float(case["updates"])), exp_avg=slot0[part].clone(),
                                exp_avg_sq=slot1[part].clone())
        opt.step()
        state = opt.state[q]
        p[part] = q.detach()
        if slot0 is not None:
            slot0[part] = state["momentum_buffer" if name == "sgd" else "exp_avg"]
        if name == "adamw":
            slot1[part] = state["exp_avg_sq"]
        if ema is not None:
            ema[part] = torch.lerp(ema[part], q.detach(), ema_share(case))
    out = {("in", 0): p, ("in", 4): slot0, ("in", 5): slot1, ("in", 6): ema}
    return {k: v for k, v in out.items() if v is not None}


def bounds(offset):
    """Begin and end of each text."""
    return list(zip(offset[:-1].tolist(), offset[1:].tolist()))


def texts(x, offset):
    """The rows of each text."""
    return [x[a:b] for a, b in bounds(offset)]


def embedding(w, token, offset):
    live = int(offset[-1])
    return torch.cat([F.embedding(token[:live], w), torch.zeros(len(token) - live, w.shape[1])])


def ragged_attention(case, qkv, offset):
    y = torch.zeros(len(qkv), qkv.shape[1] // 3)
    parts = [attention(case, r[None])[0] for r in texts(qkv, offset) if len(r)]
    y[:int(offset[-1])] = torch.cat(parts)
    return y


def ragged_add(x, p, offset):
    y = x.clone()
    for a, b in bounds(offset):
        n = min(b - a, len(p))
        y[a:a + n] += p[:n]
    return y


def ragged_pool(kind, x, offset):
    pool = dict(mean=lambda r: r.mean(0), max=lambda r: r.amax(0), first=lambda r: r[0])[kind]
    return torch.stack([pool(r) if len(r) else torch.zeros(x.shape[1]) for r in texts(x, offset)])


def conv1d(case, x, w, b, offset):
    """nn.Conv1d over each text; hone's w is (O, K, I), its zeros before and behind the text are F.pad's."""
    y, before = torch.zeros(x.shape[0], w.shape[0]), case["window"]["pad"][0]
    for begin, end in bounds(offset):
        if end > begin:
            text = F.pad(x[begin:end].t(), (before, w.shape[1] - 1 - before))
            y[begin:end] = F.conv1d(text[None], w.permute(0, 2, 1), b)[0].t()
    return y


def gru(case, x, w, b, offset):
    """The second direction of nn.GRU (packed sequences) where reverse; W_ih is the identity, as x has been multiplied."""
    hidden, reverse = w.shape[1], case["reverse"]
    net = torch.nn.GRU(3 * hidden, hidden, bidirectional=bool(reverse))
    suffix = "_reverse" if reverse else ""
    y, live = torch.zeros(x.shape[0], hidden), [t for t in bounds(offset) if t[1] > t[0]]
    with torch.no_grad():
        getattr(net, "weight_ih_l0" + suffix).copy_(torch.eye(3 * hidden))
        getattr(net, "weight_hh_l0" + suffix).copy_(w)
        getattr(net, "bias_ih_l0" + suffix).zero_()
        getattr(net, "bias_hh_l0" + suffix).copy_(b)
        packed = torch.nn.utils.rnn.pack_sequence([x[a:e] for a, e in live], enforce_sorted=False)
        for (a, e), row in zip(live, torch.nn.utils.rnn.unpack_sequence(net(packed)[0])):
            y[a:e] = row[:, -hidden:]
    return y


def compute(case, x):
    """{(side, index): tensor} for the cases that PyTorch has an answer to."""
    op, slope, v = case["op"], case["slope"], case["window"]
    act = ACTS[case["act"]]
    if op in POINTWISE:
        y = ACTS[POINTWISE[op]](x[0], slope)
    elif op == "linear":
        y = F.linear(*x)
    elif op == "linear_act":
        y = F.linear(*x)
        return {("out", 0): act(y, slope), ("out", 1): y}
    elif op in ("conv", "conv_act"):
        y = conv(case, *x) if op == "conv" else act(conv(case, *x), slope)
    elif op == "conv_act_maxpool":
        y = maxpool(case["pool"], act(conv(case, *x), slope))
    elif op == "maxpool":
        y = maxpool(v, x[0])
    elif op == "avgpool":
        y = nhwc(F.avg_pool2d(nchw(x[0]), v["kernel"], v["stride"], v["pad"]))
    elif op == "global_avgpool":
        y = x[0].mean(dim=tuple(range(1, x[0].dim() - 1)))
    elif op == "global_maxpool":
        y = x[0].amax(dim=tuple(range(1, x[0].dim() - 1)))
    elif op == "layernorm":
        y = F.layer_norm(x[0], x[0].shape[-1:], x[1], x[2], case["eps"])
    elif op == "add_layernorm":
        y = F.layer_norm(x[0] + x[1], x[0].shape[-1:], x[2], x[3], case["eps"])
    elif op.startswith("batchnorm"):
        relu = F.relu6 if op.endswith("relu6") else F.relu if op.endswith("relu") else None
        return (batchnorm_infer if op.startswith("batchnorm_infer") else batchnorm)(case, *x, relu=relu)
    elif op == "attention" and case["attention_p"] == 0:
        y = attention(case, x[0])
    elif op == "embedding":
        y = embedding(*x)
    elif op == "ragged_attention" and case["attention_p"] == 0:
        y = ragged_attention(case, x[0], x[1])
    elif op == "ragged_add":
        y = ragged_add(*x)
    elif op in ("ragged_mean", "ragged_max", "ragged_first"):
        y = ragged_pool(op.removeprefix("ragged_"), *x)
    elif op in ("softmax_xent", "softmax_xent_both"):
        if x[5] is not None:
            return mixed_cross_entropy(case, op, *x)
        return cross_entropy(case, x[0], x[1], x[2], x[3])
    elif op == "softmax":
        y = x[0].softmax(-1)
    elif op in ("sgd", "adamw"):
        return update(case, op, x[0], x[1], x[2], x[4], x[5], x[6])
    elif op == "average":  # torch.optim.swa_utils.get_ema_multi_avg_fn
        return {("in", 0): torch.lerp(x[0], x[1], ema_share(case))} if case["finite"] else {}
    elif op == "conv1d":
        y = conv1d(case, *x)
    elif op == "gru":
        y = gru(case, *x)
    elif op in ("add", "add_relu", "mul", "concat"):
        y = torch.cat(x, -1) if op == "concat" else x[0] * x[1] if op == "mul" else x[0] + x[1]
        y = F.relu(y) if op == "add_relu" else y
    else:
        return {}
    return {("out", 0): y}


def tensors(case):
    made = []
    for token, values in zip(case["shapes"].split(), case["in"]):
        if values is None:
            made.append(None)
            continue
        shape = [int(d) for d in token.lstrip("iu").split("x")]
        x = torch.tensor(values, dtype=torch.float64).to(torch.float32).to(torch.float64).reshape(shape)
        made.append(x.long() if token[0] == "i" else x)
    return made


for text in sys.stdin:
    case = json.loads(text)
    for (side, k), y in compute(case, tensors(case)).items():
        flat = y.detach().contiguous().reshape(-1).numpy()
        value = float(np.dot(np.cos(np.arange(1, flat.size + 1, dtype=np.float64)), flat))
        print(case["op"], case["shapes"], case["n"], side, k, f"{value:.13g}", sep="\t")
