#!/usr/bin/env python3
"""Writes tests/golden/csv.txt: small CSV files and what Python's csv module (strict) reads from them.

usage: make_csv.py > csv.txt       one case a line: content in hex, then "!" (refused) or label=text pairs in hex

Python and hone agree on fields. Where hone refuses more, the expectation follows its rules: rows of other than two
fields, and labels of white space. Bare CRs are left out: Python ends a row there, hone refuses them.
"""
import csv
import io
import random

draw = random.Random(5)
pieces = ['a', 'b c', '"', '""', ',', '\n', '\r\n', ' ', '\u00e9', '"x"', '"y,z"', '"p\nq"', '"r""s"', '']


def body():
    """Half of the bodies are rows of two fields with random quoting, half are pieces thrown together."""
    if draw.random() < 0.5:
        out = []
        for _ in range(draw.randint(1, 4)):
            fields = [draw.choice(['h', 's', '"h"', '"t ""u"""']), ''.join(draw.choices(pieces, k=draw.randint(0, 3)))]
            out.append(','.join(fields) + draw.choice(['\n', '\r\n']))
        return ''.join(out)
    return ''.join(draw.choices(pieces, k=draw.randint(1, 9)))


def expected(text):
    try:
        rows = list(csv.reader(io.StringIO(text, newline=''), strict=True))
    except csv.Error:
        return '!'
    rows = [row for row in rows[1:] if row]
    if not rows or any(len(row) != 2 or not row[0].strip() for row in rows):
        return '!'
    return ' '.join(f'{label.encode().hex()}={value.encode().hex()}' for label, value in rows)


seen = set()
while len(seen) < 500:
    text = 'label,text' + draw.choice(['\n', '\r\n']) + body()
    # a line that is only an empty quoted field is a row of one empty field to Python and a blank line to hone
    if text in seen or '\r' in text.replace('\r\n', ''):
        continue
    seen.add(text)
    print(text.encode().hex(), expected(text))
