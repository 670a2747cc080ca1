#!/usr/bin/env python3
"""Makes images.bin: image files with the pixels that Pillow (and torchvision) make of them, which
tests/test_image_golden.c demands from hone's decoders and resize.

usage: images.py images.bin        needs numpy, pillow >= 13, torchvision; the test needs none

Record: kind, u8 length + name, u32 length + file, u16 height, u16 width, u8 channels, pixels (H, W, C).
Kinds: d decode, exact; j decode of a JPEG (libraries may differ by little); s stretch, c shorter + centre
crop, both exact. A resize record without a file resizes the image of the record before.
PNG files are written here, because Pillow writes neither interlaced nor 2- and 4-bit ones; wherever
Pillow reads them the way hone does, its pixels are compared before the record is written.
"""
import io
import struct
import sys
import zlib

import numpy as np
from PIL import Image, ImageOps
from torchvision import transforms

rng = np.random.default_rng(20240611)
out = []


def record(kind, name, file, pixels):
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    h, w, c = pixels.shape
    out.append(kind.encode() + struct.pack("<B", len(name)) + name.encode() + struct.pack("<I", len(file)) + file
               + struct.pack("<HHB", h, w, c) + pixels.astype(np.uint8).tobytes())


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pack_row(row, depth):
    """(w, n) samples -> bytes of one row."""
    flat = row.reshape(-1)
    if depth == 16:
        return flat.astype(">u2").tobytes()
    if depth == 8:
        return flat.astype(np.uint8).tobytes()
    bits = "".join(format(int(v), f"0{depth}b") for v in flat)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))


def filtered(rows, step):
    """PNG filters 0 to 4 in turn over the rows."""
    data, up = b"", None
    for y, row in enumerate(rows):
        up = up if up is not None else bytes(len(row))
        kind, line = y % 5, bytearray()
        for i, v in enumerate(row):
            a, b = (row[i - step] if i >= step else 0), up[i]
            c = up[i - step] if i >= step else 0
            p = a + b - c
            paeth = a if abs(p - a) <= abs(p - b) and abs(p - a) <= abs(p - c) else b if abs(p - b) <= abs(p - c) else c
            line.append((v - (0, a, b, (a + b) // 2, paeth)[kind]) & 255)
        data += bytes([kind]) + bytes(line)
        up = row
    return data


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png(samples, colour, depth, interlaced=False, extra=b"", pieces=1):
    """samples (H, W, n) at full depth -> file."""
    h, w, n = samples.shape
    step = max(1, n * depth // 8)
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    raw = b""
    for x0, y0, dx, dy in passes:
        part = samples[y0::dy, x0::dx]
        if part.size:
            raw += filtered([pack_row(r, depth) for r in part], step)
    z = zlib.compress(raw, 9)
    cuts = [len(z) * k // pieces for k in range(pieces + 1)]
    data = b"".join(chunk(b"IDAT", z[a:b]) for a, b in zip(cuts, cuts[1:]))
    head = struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, int(interlaced))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + data + chunk(b"IEND", b"")


def on_white(colour, alpha):
    """(H, W, c), (H, W, 1) of 0..255: exactly rounded."""
    return (colour * alpha + 255 * (255 - alpha) + 127) // 255


def to8(v, depth):
    return v >> 8 if depth == 16 else v * 255 // ((1 << depth) - 1)


def check_pillow(file, expected, mode):
    got = np.asarray(Image.open(io.BytesIO(file)).convert(mode)).reshape(expected.shape)
    assert np.array_equal(got, expected), "Pillow reads it otherwise"


def png_cases():
    for colour, n, depths in ((0, 1, (1, 2, 4, 8, 16)), (2, 3, (8, 16)), (4, 2, (8, 16)), (6, 4, (8, 16))):
        for depth in depths:
            for interlaced in (False, True):
                h, w = (9, 13) if depth < 16 else (6, 7)
                v = rng.integers(0, 1 << depth, (h, w, n))
                file = png(v, colour, depth, interlaced, pieces=1 if interlaced else 3)
                p = to8(v, depth)
                if n % 2 == 0:
                    p = on_white(p[..., :-1], p[..., -1:])
                elif depth < 16:
                    check_pillow(file, p, "L" if n == 1 else "RGB")
                record("d", f"png colour {colour} depth {depth}{' interlaced' if interlaced else ''}", file, p)
    for depth in (1, 2, 4, 8):
        colours = (1 << depth) - (depth > 1)
        palette = rng.integers(0, 256, (colours, 3))
        alpha = rng.integers(0, 256, (max(1, colours // 2),))
        v = rng.integers(0, colours, (10, 11, 1))
        plte = chunk(b"PLTE", palette.astype(np.uint8).tobytes())
        p = palette[v[..., 0]]
        for interlaced in (False, True):
            file = png(v, 3, depth, interlaced, plte)
            check_pillow(file, p, "RGB")
            record("d", f"png palette depth {depth}{' interlaced' if interlaced else ''}", file, p)
        full = np.concatenate([alpha, np.full(colours - len(alpha), 255)])
        file = png(v, 3, depth, False, plte + chunk(b"tRNS", alpha.astype(np.uint8).tobytes()))
        record("d", f"png palette depth {depth} with alpha", file, on_white(p, full[v]))
    v = rng.integers(0, 3, (8, 8, 1))
    record("d", "png grey 2 bits, one transparent value", png(v, 0, 2, False, chunk(b"tRNS", struct.pack(">H", 1))),
           np.where(v == 1, 255, to8(v, 2)))
    v = rng.integers(0, 2, (8, 8, 3)) * 200
    key = chunk(b"tRNS", struct.pack(">HHH", 200, 0, 200))
    record("d", "png RGB, one transparent colour", png(v, 2, 8, False, key), np.where((v == [200, 0, 200]).all(-1, keepdims=True), 255, v))
    for w, h in ((1, 1), (1, 5), (5, 1), (2, 3), (4, 4)):  # empty Adam7 passes
        v = rng.integers(0, 256, (h, w, 3))
        file = png(v, 2, 8, True)
        check_pillow(file, v, "RGB")
        record("d", f"png interlaced {w} x {h}", file, v)


def oriented_png():
    v = rng.integers(0, 256, (5, 7, 3))
    for o in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = o
        data = exif.tobytes()
        data = data[6:] if data.startswith(b"Exif\0\0") else data
        file = png(v, 2, 8, False, chunk(b"eXIf", data))
        p = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file))))
        assert o == 1 or not np.array_equal(p, v)
        record("d", f"png EXIF orientation {o}", file, p)


def save(image, form, **how):
    b = io.BytesIO()
    image.save(b, form, **how)
    return b.getvalue()


def smooth(h, w, c):
    """A picture that JPEG can hold: a few waves."""
    y, x = np.mgrid[0:h, 0:w]
    p = [127 + 100 * np.sin(x / (5 + k) + k) * np.cos(y / (7 - k)) for k in range(c)]
    return np.stack(p, -1).astype(np.uint8)


def other_cases():
    rgb, grey = rng.integers(0, 256, (7, 9, 3)).astype(np.uint8), rng.integers(0, 256, (7, 9)).astype(np.uint8)
    record("d", "bmp 24", save(Image.fromarray(rgb), "BMP"), rgb)
    record("d", "bmp 8 grey palette", save(Image.fromarray(grey), "BMP"), np.repeat(grey[..., None], 3, -1))
    paletted = Image.fromarray(rgb).quantize(13)
    record("d", "bmp 8 palette", save(paletted, "BMP"), np.asarray(paletted.convert("RGB")))
    one = Image.fromarray(grey).convert("1")
    record("d", "bmp 1", save(one, "BMP"), np.asarray(one.convert("RGB")))
    rgba = np.concatenate([rgb, grey[..., None]], -1)
    file = save(Image.fromarray(rgba), "BMP")
    record("d", "bmp 32", file, on_white(rgb.astype(int), grey[..., None].astype(int)) if bmp_has_alpha(file) else rgb)
    record("d", "ppm", save(Image.fromarray(rgb), "PPM"), rgb)
    record("d", "pgm", save(Image.fromarray(grey), "PPM"), grey)
    v = rng.integers(0, 65536, (4, 5))
    record("d", "pgm 16 bits", b"P5\n# a comment\n5 4\n65535\n" + v.astype(">u2").tobytes(), (v * 255 + 32767) // 65535)
    v = rng.integers(0, 101, (4, 5))
    record("d", "pgm maximum 100", b"P5 5 4 100\n" + v.astype(np.uint8).tobytes(), (v * 255 + 50) // 100)


def bmp_has_alpha(file):
    return struct.unpack("<I", file[14:18])[0] >= 56 and struct.unpack("<I", file[30:34])[0] == 3


def jpeg_cases():
    for o in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = o
        file = save(Image.fromarray(smooth(17, 23, 3)), "JPEG", quality=92, exif=exif.tobytes())
        record("j", f"jpeg EXIF orientation {o}", file, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file)))))
    for name, image, how in (("4:4:4", smooth(16, 24, 3), {"subsampling": 0}), ("4:2:2", smooth(19, 21, 3), {"subsampling": 1}),
                             ("progressive", smooth(33, 31, 3), {"progressive": True}), ("grey", smooth(15, 18, 1)[..., 0], {}),
                             ("restart markers", smooth(40, 40, 3), {"restart_marker_blocks": 2}), ("1 x 1", smooth(1, 1, 3), {})):
        file = save(Image.fromarray(image), "JPEG", quality=90, **how)
        record("j", f"jpeg {name}", file, np.asarray(Image.open(io.BytesIO(file))))
    cmyk = Image.fromarray(np.dstack([smooth(16, 16, 3), 255 - smooth(16, 16, 1)]), "CMYK")
    file = save(cmyk, "JPEG", quality=95)
    record("j", "jpeg CMYK", file, np.asarray(Image.open(io.BytesIO(file)).convert("RGB")))


def resize_cases():
    sizes = [(29, 37, h, w) for h, w in ((28, 28), (14, 18), (1, 1), (29, 12), (7, 37), (58, 74), (40, 40), (3, 61), (29, 38), (13, 36))]
    sizes += [(64, 48, 32, 24), (64, 48, 7, 5), (5, 3, 32, 32), (1, 1, 4, 5), (1, 97, 8, 8), (97, 1, 8, 8), (50, 51, 50, 17)]
    sizes += [(90, 20, h, w) for h, w in ((60, 7), (60, 30), (70, 9), (70, 11))]  # around the rule for the order of the passes
    sizes += [(33, 47, h, w) for h, w in ((16, 16), (32, 32), (24, 47))]
    for c in (3, 1):
        for h, w, oh, ow in sizes:
            v = rng.integers(0, 256, (h, w, c)).astype(np.uint8)
            if (h + w) % 2:  # hard edges show clipping and rounding
                v = (v > 127).astype(np.uint8) * 255
            image = Image.fromarray(v if c == 3 else v[..., 0])
            record("s", f"stretch {h} x {w} x {c} to {oh} x {ow}", save(image, "PNG"), np.asarray(image.resize((ow, oh), Image.BILINEAR)))
    for h, w, size in ((29, 37, 16), (37, 29, 16), (40, 40, 24), (31, 90, 28), (90, 31, 32), (20, 21, 32), (21, 26, 20), (25, 100, 7)):
        v = rng.integers(0, 256, (h, w, 3)).astype(np.uint8)
        image = Image.fromarray(v)
        both = transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size)])
        record("c", f"shorter {h} x {w} to {size}", save(image, "PNG"), np.asarray(both(image)))


png_cases()
oriented_png()
other_cases()
jpeg_cases()
resize_cases()
with open(sys.argv[1], "wb") as f:
    f.write(b"HGI1" + struct.pack("<I", len(out)) + b"".join(out))
print(len(out), "records")
