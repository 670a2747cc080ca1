#!/usr/bin/env python3
"""Writes starting corpora for the fuzz targets: the files of tests/golden/images.bin, small sets of every format, models.

usage: fuzz_seeds.py FOLDER        makes FOLDER/fuzz_NAME/ for the targets of `names` below
"""
import gzip
import io
import json
import pathlib
import struct
import sys
import tarfile

root = pathlib.Path(sys.argv[1])
names = ("image", "idx", "safetensors", "tokenizer", "onnx", "tar", "json", "cifar", "pack", "small", "config")
for name in names:
    (root / f"fuzz_{name}").mkdir(parents=True, exist_ok=True)
data = (pathlib.Path(__file__).parent.parent / "golden" / "images.bin").read_bytes()
at = 8
for k in range(struct.unpack("<I", data[4:8])[0]):
    name_bytes = data[at + 1]
    size, = struct.unpack_from("<I", data, at + 2 + name_bytes)
    file = data[at + 6 + name_bytes:at + 6 + name_bytes + size]
    if size and size < 4096:
        (root / "fuzz_image" / str(k)).write_bytes(file)
    at += 6 + name_bytes + size
    h, w, c = struct.unpack_from("<HHB", data, at)
    at += 5 + h * w * c
labels = b"\0\0\x08\x01" + struct.pack(">I", 3) + b"\0\1\2"
images = b"\0\0\x08\x03" + struct.pack(">III", 3, 2, 2) + bytes(12)
for name, a, b in (("plain", labels, images), ("gzip", gzip.compress(labels, mtime=0), gzip.compress(images, mtime=0)), ("mixed", labels, gzip.compress(images, mtime=0))):
    cut = next((v for v in range(256) if v * (len(a) + len(b)) // 255 == len(a)), 128)  # share of the labels file
    (root / "fuzz_idx" / name).write_bytes(bytes([cut]) + a + b)

# tokenizer files behind which a text follows, and texts for the golden tokenizers
golden = pathlib.Path(__file__).parent.parent / "golden" / "tokenizers"
texts = json.loads((golden / "ids.json").read_text())["texts"]
for k, text in enumerate(texts):
    (root / "fuzz_tokenizer" / f"text{k}").write_bytes(bytes([k % 5]) + text.encode())
bert = {"normalizer": {"type": "BertNormalizer"}, "pre_tokenizer": {"type": "BertPreTokenizer"},
        "added_tokens": [{"id": 1, "content": "[SEP]", "special": True, "lstrip": True}, {"id": 9, "content": "É", "rstrip": True}],
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 1], "cls": ["[CLS]", 2]},
        "model": {"type": "WordPiece", "vocab": {"[UNK]": 0, "[SEP]": 1, "[CLS]": 2, "a": 3, "##b": 4, "!": 5}}}
byte_level = {"normalizer": {"type": "Sequence", "normalizers": [{"type": n} for n in ("NFC", "Lowercase", "NFKD", "StripAccents")]},
              "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}, "post_processor": {
                  "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "s", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                  "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                  "special_tokens": {"s": {"id": "s", "ids": [0], "tokens": ["s"]}}},
              "model": {"type": "BPE", "vocab": {"s": 0, "a": 1, "b": 2, "ab": 3, "Ġ": 4, "Ġab": 5}, "merges": ["a b", ["Ġ", "ab"]]}}
ngram = {"model": {"type": "hone-ngram", "words": [1, 3], "chars": [2, 3], "buckets": 50, "vocab": ["a", "b"]}}
chars = {"model": {"type": "hone-char", "vocab": ["[PAD]", "[UNK]", "a", "é"]}}
for name, value in (("bert", bert), ("bpe", byte_level), ("ngram", ngram), ("char", chars)):
    (root / "fuzz_tokenizer" / name).write_bytes(json.dumps(value).encode() + b"\0" + "ab Éa [SEP] b!".encode())


# an ONNX file of one initializer and two nodes: (field, value) pairs, numbers as varints, the rest with its length
def message(*fields):
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += bytes([number << 3]) + bytes([value])
        else:
            value = value.encode() if isinstance(value, str) else value
            out += bytes([number << 3 | 2, len(value)]) + value
    return out


axis = message((1, message((1, message((1, 1), (2, message((1, message((2, "N"))), (1, message((1, 2))))))))))
attr = message((1, "axis"), (3, 1)) + b"\xa0\x01\x02"
graph = message((1, message((1, "x"), (1, "w"), (2, "a"), (3, "n"), (4, "Add"))), (1, message((1, "a"), (2, "y"), (4, "Softmax"), (5, attr))),
                (2, "g"), (5, message((1, 2), (2, 1), (8, "w"), (9, bytes(8)))), (11, message((1, "x"), (2, axis))), (12, message((1, "y"), (2, axis))))
model = message((1, 8), (2, "hone"), (7, graph), (8, message((2, 17))), (14, message((1, "labels"), (2, "[]"))))
(root / "fuzz_onnx" / "small").write_bytes(model)
for k, header in enumerate((
        {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "b": {"dtype": "BF16", "shape": [1], "data_offsets": [24, 26]}},
        {"__metadata__": {"format": "pt"}, "x.weight": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}},
        {"s": {"dtype": "I64", "shape": [], "data_offsets": [0, 8]}, "e": {"dtype": "U8", "shape": [0, 9], "data_offsets": [8, 8]}},
        {})):
    text = json.dumps(header).encode()
    size = max((v["data_offsets"][1] for n, v in header.items() if n != "__metadata__"), default=0)
    (root / "fuzz_safetensors" / str(k)).write_bytes(struct.pack("<Q", len(text)) + text + bytes(range(size)))

# tar shards of two samples in the three formats that Python writes, labels of three kinds, names that need a header of their own
for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
    for kind, label in (("cls", b"1"), ("txt", b"cat"), ("json", b'{"label": "cat"}')):
        for long in (False, True):
            out = io.BytesIO()
            with tarfile.open(fileobj=out, mode="w", format=form) as tar:
                for key in ("a", ("d/" * 30 if form == tarfile.USTAR_FORMAT else "") + "k" * (90 if form == tarfile.USTAR_FORMAT else 120) if long else "b"):
                    for ending, content in (("png", b"pixels"), (kind, label)):
                        info = tarfile.TarInfo(f"{key}.{ending}")
                        info.size = len(content)
                        tar.addfile(info, io.BytesIO(content))
            data = out.getvalue().rstrip(b"\0")
            data += bytes(-len(data) % 512 + 1024)  # the end mark without the filling of a record
            (root / "fuzz_tar" / f"{form}-{kind}-{int(long)}").write_bytes(b"\0" + data)

# JSON of every kind of value, by flags; packs whose hashes the target puts right; CIFAR records; the pages of the snapshots
documents = ('{"a":[1,-2.5e3,true,false,null],"b":{"c":"\\u00e9\\ud83d\\ude00\\n"}}', '[[[["deep"]]],0.1,9223372036854775807]',
             '{"format":"hone-model","classes":["x","y"],"mean":[0.5]}')
for k, text in enumerate(documents):
    (root / "fuzz_json" / str(k)).write_bytes(bytes([k]) + text.encode())
for k, (weights, split) in enumerate(((False, "train"), (True, "train"), (False, "test"))):
    entry = {"pixels": 4096, "pixels_xxh3": "####", "labels": 8192, "names": 12288, "names_bytes": 4, "columns_xxh3": "@@@@",
             "name": split, "count": 2} | ({"weights": 16384} if weights else {})
    header = {"version": 1, "height": 2, "width": 2, "channels": 1, "resize": "stretch", "classes": ["x", "y"], "splits": [entry]}
    columns = b"a\0b\0" + bytes(28)
    (root / "fuzz_pack" / str(k)).write_bytes(bytes([1 | {"train": 0, "test": 2}[split] << 1]) + columns + json.dumps(header).encode() + (b" " if weights else b""))
classes = "airplane automobile bird cat deer dog frog horse ship truck".replace(" ", "\n").encode() + b"\n"
for k in (2, 3, 4, 10):
    (root / "fuzz_cifar" / str(k)).write_bytes(bytes([k, 3]) + (classes if k % 2 == 0 else b"".join(b"c%d\n" % i for i in range(100))))
for path in (pathlib.Path(__file__).parent.parent / "snapshots" / "config").glob("*.yaml"):
    if path.stat().st_size < 2048:
        (root / "fuzz_config" / path.stem).write_bytes(path.read_bytes())

# a bag of four rows and two classes, as the header of fuzz_small's own making wants it
bag = {"format": "hone-model", "version": 1, "task": "text", "classes": ["ham", "spam"],
       "preprocess": {"vocab": 4, "max_length": 0, "pairs": False, "tokenizer": "tokenizer.json"},
       "layers": [{"embedding_bag": {"name": "embedding_bag1", "dim": 3}}, {"linear": {"name": "linear1", "out": 2}}],
       "parameters": {"embedding_bag1.weight": [4, 3], "linear1.weight": [2, 3], "linear1.bias": [2]}}
net = {"format": "hone-model", "version": 1, "task": "image", "classes": ["x", "y"],
       "preprocess": {"height": 6, "width": 6, "channels": 1, "resize": "stretch", "mean": [0.5], "std": [0.5]},
       "layers": [{"conv": {"name": "conv1", "out": 2}}, {"batchnorm": {"name": "batchnorm1"}}, "relu",
                  {"residual": {"name": "residual1", "layers": [{"conv": {"name": "conv1", "out": 2}}]}}, "flatten",
                  {"linear": {"name": "linear1", "out": 2}}],
       "parameters": {"conv1.weight": [2, 1, 3, 3], "conv1.bias": [2], "residual1.conv1.weight": [2, 2, 3, 3], "residual1.conv1.bias": [2],
                      "linear1.weight": [2, 72], "linear1.bias": [2]}
       | {f"batchnorm1.{name}": [2] for name in ("weight", "bias", "running_mean", "running_var")}}
for k, model in enumerate((bag, net)):
    for bits in range(2):
        sizes = bytes([4, 3, 2, bits, 8])
        for way in (1, 3):  # a file; what a run says of its model
            (root / "fuzz_small" / f"{k}-{bits}-{way}").write_bytes(bytes([way]) + sizes + json.dumps(model).encode() + b"\0{}      " + bytes(16))
