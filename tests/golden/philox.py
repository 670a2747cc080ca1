"""Values that PyTorch and the tests of hone draw alike: Philox4x32-10 (include/hone/philox.h) keyed by a parameter's name."""
import math

import numpy as np
import torch


def philox_uniform(seed, stream, count):
    """count floats in [0, 1): element i is word i % 4 of the draw with index i // 4, step 0."""
    n = (count + 3) // 4
    mask = np.uint64(0xFFFFFFFF)
    c0 = np.arange(n, dtype=np.uint64)
    c1, c2, c3 = (np.zeros(n, np.uint64) for _ in range(3))
    k0, k1 = np.uint64(seed & 0xFFFFFFFF), np.uint64((seed >> 32) ^ stream)
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (p1 >> np.uint64(32)) ^ c1 ^ k0, p1 & mask, (p0 >> np.uint64(32)) ^ c3 ^ k1, p0 & mask
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & mask, (k1 + np.uint64(0xBB67AE85)) & mask
    words = np.stack([c0, c1, c2, c3], 1).reshape(-1)[:count]
    return ((words >> np.uint64(8)).astype(np.float32) * np.float32(2.0 ** -24)).astype(np.float32)


def fnv1a(text):
    h = 0xCBF29CE484222325
    for b in text.encode():
        h = ((h ^ b) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def fill(name, shape):
    """The value of a parameter; tests/support/drawn.h has the same rule in float32."""
    count = int(np.prod(shape)) if shape else 1
    u = (np.float32(2) * philox_uniform(fnv1a(name), 77, count) - np.float32(1)).astype(np.float32)
    if name.endswith("running_mean"):
        v = np.zeros(count, np.float32)
    elif name.endswith("running_var"):
        v = np.ones(count, np.float32)
    elif len(shape) >= 2:
        # Convolutions by Kaiming's rule: smaller ones make BN nets chaotic, float32 then leaves float64 by itself.
        v = u * np.float32(math.sqrt((6.0 if len(shape) == 4 else 1.0) / np.prod(shape[1:])))
    elif name.endswith("weight"):
        v = np.float32(1) + np.float32(0.1) * u
    else:
        v = np.float32(0.1) * u
    return torch.from_numpy(v.reshape(shape))
