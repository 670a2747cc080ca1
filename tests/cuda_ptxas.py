#!/usr/bin/env python3
"""Compiles every CUDA kernel again with ptxas -v and prints a table: registers, spills, stack, shared memory, by chip.

usage: cuda_ptxas.py BUILD_DIR      exit 1 when a kernel spills registers, does not compile, or none is found
The commands are the plugin's own, from compile_commands.json, so the figures are those of the library that is used.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'")
FIGURES = {"stack": r"(\d+) bytes stack frame", "spill": r"(\d+) bytes spill (?:stores|loads)", "registers": r"Used (\d+) registers",
           "shared": r"(\d+) bytes smem"}


def compile_one(entry, folder):
    """(source name, what ptxas says); raises with the compiler's words where it fails."""
    words = shlex.split(entry["command"])
    words[words.index("-o") + 1] = str(folder / (pathlib.Path(entry["file"]).name + ".o"))
    words = [w for w in words if w not in ("-MD",)]
    for flag in ("-MT", "-MF"):  # no dependency file: the build's own must stay
        if flag in words:
            del words[words.index(flag):words.index(flag) + 2]
    done = subprocess.run(words + ["-Xptxas=-v"], cwd=entry["directory"], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)
    return pathlib.Path(entry["file"]).name, done.stdout + done.stderr


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
    with tempfile.TemporaryDirectory() as name, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda e: compile_one(e, pathlib.Path(name)), entries))
    rows = [row for name, text in sorted(results) for row in rows_of(name, text)]
    demangle(rows)
    print(f"{'file':16}{'chip':7}{'registers':>10}{'spill':>7}{'stack':>7}{'shared':>8}  kernel")
    for r in rows:
        print(f"{r['file']:16}{r['chip']:7}{r['registers']:10}{r['spill']:7}{r['stack']:7}{r['shared']:8}  {r['kernel'][:100]}")
    spilling = sum(r["spill"] > 0 for r in rows)
    print(f"{len(rows)} kernels (each type and chip counts), {spilling} spill, most registers {max((r['registers'] for r in rows), default=0)}")
    return 0 if rows and not spilling else 1


if __name__ == "__main__":
    sys.exit(main())
