#!/usr/bin/env python3
"""Writes tests/golden/param_names/*.txt: names and shapes of the zoo's parameters as others name them.

usage: param_names.py        (needs torch and torchvision; the tests need only the files it writes)
One line a parameter: NAME SHAPE. torchvision's own models give ResNet and MobileNetV2; the vision
transformers are written down here from timm's vision_transformer.py, which torchvision does not
follow. BatchNorm's num_batches_tracked is left out: it is no number the net computes with.
"""
import pathlib

import torchvision

OUT = pathlib.Path(__file__).parent / "param_names"


def write(name, rows):
    text = "".join(f"{key} ({', '.join(str(d) for d in shape)})\n" for key, shape in rows)
    (OUT / f"{name}.txt").write_text(text)


def torchvision_rows(model):
    return [(k, tuple(v.shape)) for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")]


def timm_vit_rows(dim, depth, mlp, patch=16, image=224, classes=1000):
    tokens = (image // patch) ** 2 + 1
    rows = [("cls_token", (1, 1, dim)), ("pos_embed", (1, tokens, dim)),
            ("patch_embed.proj.weight", (dim, 3, patch, patch)), ("patch_embed.proj.bias", (dim,))]
    for k in range(depth):
        b = f"blocks.{k}."
        rows += [(b + "norm1.weight", (dim,)), (b + "norm1.bias", (dim,)),
                 (b + "attn.qkv.weight", (3 * dim, dim)), (b + "attn.qkv.bias", (3 * dim,)),
                 (b + "attn.proj.weight", (dim, dim)), (b + "attn.proj.bias", (dim,)),
                 (b + "norm2.weight", (dim,)), (b + "norm2.bias", (dim,)),
                 (b + "mlp.fc1.weight", (mlp, dim)), (b + "mlp.fc1.bias", (mlp,)),
                 (b + "mlp.fc2.weight", (dim, mlp)), (b + "mlp.fc2.bias", (dim,))]
    return rows + [("norm.weight", (dim,)), ("norm.bias", (dim,)), ("head.weight", (classes, dim)), ("head.bias", (classes,))]


def main():
    OUT.mkdir(exist_ok=True)
    for name in ("resnet18", "resnet34", "resnet50", "mobilenet_v2"):
        write(name, torchvision_rows(getattr(torchvision.models, name)()))
    write("vit_tiny", timm_vit_rows(192, 12, 768))
    write("vit_s16", timm_vit_rows(384, 12, 1536))


if __name__ == "__main__":
    main()
