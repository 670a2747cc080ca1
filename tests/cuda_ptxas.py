#!/usr/bin/env python3
"""Prints a table of every CUDA kernel as ptxas compiled it: registers, spills, stack, shared memory, by chip.

usage: cuda_ptxas.py BUILD_DIR      exit 1 when a kernel spills registers, a source has no figures, or none is found
The figures are those that the build left beside its objects (cmake/keep_ptxas.sh), so they are those of the library that
is used.
"""
import json
import pathlib
import re
import shlex
import subprocess
import sys

ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'")
FIGURES = {"stack": r"(\d+) bytes stack frame", "spill": r"(\d+) bytes spill (?:stores|loads)", "registers": r"Used (\d+) registers",
           "shared": r"(\d+) bytes smem"}


def said_of(entry):
    """(source name, what ptxas said); an object newer than its figures was built another way."""
    words = shlex.split(entry["command"])
    built = pathlib.Path(entry["directory"]) / words[words.index("-o") + 1]
    said = built.with_name(built.name + ".ptxas")
    if not built.is_file() or not said.is_file() or said.stat().st_mtime < built.stat().st_mtime:
        raise SystemExit(f"{said}: missing or older than the object beside it; build hone_cuda anew")
    return pathlib.Path(entry["file"]).name, said.read_text()


def rows_of(name, text):
    """One dictionary for each kernel and chip."""
    rows = []
    for line in text.split("\n"):
        begin = ENTRY.search(line)
        if begin:
            rows.append({"file": name, "kernel": begin.group(1), "chip": begin.group(2), "stack": 0, "spill": 0, "registers": 0, "shared": 0})
        for key, pattern in FIGURES.items():
            for value in re.findall(pattern, line) if rows else []:
                rows[-1][key] = max(rows[-1][key], int(value))
    return rows


def demangle(rows):
    """Readable names where c++filt is there; arguments are left out."""
    try:
        names = subprocess.run(["c++filt"], input="\n".join(r["kernel"] for r in rows), capture_output=True, text=True).stdout.split("\n")
    except FileNotFoundError:
        return
    for row, name in zip(rows, names):
        row["kernel"] = re.sub(r"^void |\(.*$", "", name)


def main():
    commands = json.loads((pathlib.Path(sys.argv[1]) / "compile_commands.json").read_text())
    entries = [e for e in commands if e["file"].endswith(".cu") and "-x cu" in e["command"]]
    kernels = {name: rows_of(name, text) for name, text in sorted(said_of(e) for e in entries)}
    silent = [name for name, found in kernels.items() if not found]
    rows = [row for found in kernels.values() for row in found]
    demangle(rows)
    print(f"{'file':16}{'chip':7}{'registers':>10}{'spill':>7}{'stack':>7}{'shared':>8}  kernel")
    for r in rows:
        print(f"{r['file']:16}{r['chip']:7}{r['registers']:10}{r['spill']:7}{r['stack']:7}{r['shared']:8}  {r['kernel'][:100]}")
    spilling = sum(r["spill"] > 0 for r in rows)
    print(f"{len(rows)} kernels (each type and chip counts), {spilling} spill, most registers {max((r['registers'] for r in rows), default=0)}")
    if silent:
        print("no kernel in what ptxas said of", ", ".join(silent))
    return 0 if rows and not spilling and not silent else 1


if __name__ == "__main__":
    sys.exit(main())
