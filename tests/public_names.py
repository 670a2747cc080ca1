#!/usr/bin/env python3
"""The names that libhone shows: exactly the functions that include/hone declares.

usage: public_names.py REPO [LIBRARY.so]   compares headers, src/libhone.map and, where given, the library's symbols
       public_names.py REPO --write        writes src/libhone.map anew from the headers
A name that goes breaks programs: then SOVERSION (CMakeLists.txt) and the map's version change, too.
"""
import pathlib
import re
import subprocess
import sys

VERSION = "HONE_0"


def declared(root):
    """Functions declared and not defined in the headers; macros and static inline ones are no symbols."""
    names = set()
    for path in sorted((root / "include" / "hone").glob("*.h")):
        text = re.sub(r"/\*.*?\*/", " ", path.read_text(encoding="utf-8"), flags=re.S)
        text = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", "", text, flags=re.M)
        text = re.sub(r"\b(?:HONE_PRINTF|__attribute__)\s*\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)", "", text)
        for match in re.finditer(r"^(?!\s*return\b)[A-Za-z][\w \t]*[ *](hone_[a-z0-9_]+)\s*\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)\s*(?:HONE_MUST_USE\s*)?;", text, re.M):
            names.add(match.group(1))
    return names


def mapped(root):
    text = (root / "src" / "libhone.map").read_text(encoding="utf-8")
    return set(re.findall(r"\b(hone_[a-z0-9_]+);", text))


def exported(library):
    out = subprocess.run(["nm", "-D", "--defined-only", "--with-symbol-versions", library], check=True, capture_output=True, text=True)
    rows = [line.split() for line in out.stdout.splitlines()]
    return {r[2] for r in rows if r[1] != "A"}  # A: the version itself


def main():
    root, rest = pathlib.Path(sys.argv[1]), sys.argv[2:]
    want = declared(root)
    if rest == ["--write"]:
        lines = "".join(f"    {n};\n" for n in sorted(want))
        (root / "src" / "libhone.map").write_text(
            "/* libhone.map - what libhone.so shows: the functions of include/hone. Made by tests/public_names.py --write. */\n"
            f"{VERSION} {{\n  global:\n{lines}  local:\n    *;\n}};\n", encoding="utf-8")
        return
    bad = [f"src/libhone.map lacks {n}, which a header declares" for n in sorted(want - mapped(root))]
    bad += [f"src/libhone.map names {n}, which no header declares" for n in sorted(mapped(root) - want)]
    if rest:
        have = exported(rest[0])
        bad += [f"{rest[0]} does not show {n}@@{VERSION}" for n in sorted(want) if f"{n}@@{VERSION}" not in have]
        bad += [f"{rest[0]} shows {n}, which no header declares" for n in sorted(have) if n.split("@")[0] not in want]
    print(f"{len(want)} public functions")
    print("\n".join(bad))
    sys.exit(1 if bad else 0)


main()
