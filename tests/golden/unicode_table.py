#!/usr/bin/env python3
"""Writes src/text/unicode_table.c: which characters are letters, digits, marks, ... for the `tokenizers` package.

usage: python3 -m venv V; V/bin/pip install tokenizers; V/bin/python tests/golden/unicode_table.py > src/text/unicode_table.c

The package mixes several versions of Unicode (its regular expressions know version 16, its BERT rules version 8), so
the classes are read off its behaviour, one code point at a time, and not from Unicode's own files.
"""
from tokenizers import __version__, normalizers, pre_tokenizers

MARKS = dict(LETTER=1, NUMBER=2, SPACE=4, PUNCT=8, ACCENT=16, OTHER=32, MARK=64, ORDERED=128)
bert_options = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
clean = normalizers.BertNormalizer(**{**bert_options, "clean_text": True})
strip = normalizers.BertNormalizer(**{**bert_options, "strip_accents": True})
marks, nfd = normalizers.StripAccents(), normalizers.NFD()
bert, byte_level = pre_tokenizers.BertPreTokenizer(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def pieces(splitter, text):
    return len(splitter.pre_tokenize_str(text))


def classes(code):
    """Bits of one code point. ORDERED: canonical ordering may move it; not so marks too new for the package."""
    c, bits = chr(code), 0
    if 0xD800 <= code < 0xE000:
        return 0
    bits |= MARKS["LETTER"] * (pieces(byte_level, "a" + c) == 1)
    bits |= MARKS["NUMBER"] * (pieces(byte_level, "1" + c) == 1)
    bits |= {1: 0, 2: MARKS["SPACE"], 3: MARKS["PUNCT"]}[pieces(bert, "a" + c + "b")]
    bits |= MARKS["ACCENT"] * (strip.normalize_str(c) == "")
    bits |= MARKS["OTHER"] * (clean.normalize_str(c) == "")
    bits |= MARKS["MARK"] * (marks.normalize_str(c) == "")
    # U+0334 has combining class 1 and U+0345 class 240: one of them moves past a mark of any other class
    if nfd.normalize_str(c) == c:
        moves = nfd.normalize_str("\u0345" + c)[0] == c or nfd.normalize_str(c + "\u0334")[0] != c
        bits |= MARKS["ORDERED"] * moves
    return bits


def ranges():
    runs = []
    for code in range(0x110000):
        bits = classes(code)
        if runs and runs[-1][2] == bits and runs[-1][1] < 0xFFFF:
            runs[-1][1] += 1
        else:
            runs.append([code, 1, bits])
    return [run for run in runs if run[2]]


short = {1: "L", 2: "N", 4: "S", 8: "P", 16: "A", 32: "O", 64: "M", 128: "C"}
print(f"""/* unicode_table.c - runs of code points of one class: {{first, count, classes}}; what is in no run has none.
 *
 * Written by tests/golden/unicode_table.py from the behaviour of the `tokenizers` package {__version__}, so ids can't
 * depend on the version of utf8proc. Not edited by hand; classes are explained in unicode.h. */
#include "text/unicode.h"

/* as many a line as fit */
/* clang-format off */
enum {{
    {", ".join(f"{short[bit]} = HONE_UNICODE_{name}" for name, bit in list(MARKS.items())[:4])},
    {", ".join(f"{short[bit]} = HONE_UNICODE_{name}" for name, bit in list(MARKS.items())[4:])},
}};

const hone_unicode_run hone_unicode_runs[] = {{""")
line = "   "
count = 0
for first, length, bits in ranges():
    text = " {%d, %d, %s}," % (first, length, " | ".join(short[1 << k] for k in range(8) if bits >> k & 1))
    if len(line) + len(text) > 120:
        print(line)
        line = "   "
    line += text
    count += 1
print(line)
print(f"""}};
/* clang-format on */
const int hone_unicode_run_count = {count};""")
