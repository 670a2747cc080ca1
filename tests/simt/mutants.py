#!/usr/bin/env python3
"""Plants faults in copies of the CUDA kernels and demands that the case list on the emulator catches them.

usage: mutants.py SOURCE_DIR BUILD_DIR TEST_CASES PLUGIN OBJECT...
  HONE_MUTANT=TEXT    only the faults whose title has TEXT
  HONE_MUTANTS=all    all of them; else a fifth of each kernel file's, drawn by the text of kernels and faults: the same
                      for one state of the sources, others after every change
  TEST_CASES  the built tests/test_cases       PLUGIN  the plugin's file name
  OBJECT...   objects and archives that the plugin is linked from, in link order
The faults stand in mutants.list. Each is compiled alone (with the flags of compile_commands.json), linked with the
other kernels' objects, and run by the cases of one op under four schedules; the first run that fails catches it.
In a build with ThreadSanitizer only a race that it names counts, under one schedule.
Exit 0: every text (drawn or not) still stands in the sources, and 95 % or more of the faults that ran are caught.
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

SCHEDULES = ["order", "greedy:1", "reverse", "random:1"]
CAUGHT_LEAST = 0.95
RUN_SECONDS = 240  # a run that takes longer says nothing about the fault


def read_list(path):
    """One dictionary a fault; `file` is changed, `unit` is compiled."""
    faults = []
    for line in path.read_text().split("\n"):
        if line.startswith("== "):
            where, op, title = (part.strip() for part in line[3:].split("|"))
            header, _, unit = where.rpartition(">")
            faults.append({"file": header or unit, "unit": unit, "op": op, "title": title, "old": [], "new": []})
        elif line[:2] in ("- ", "+ "):
            faults[-1]["old" if line[0] == "-" else "new"].append(line[2:])
    return faults


def draw(faults, kernels, seed):
    """A fifth of the faults of each unit, rounded up, by a digest of the kernels' text."""
    digest = hashlib.sha256(seed)
    for source in sorted(kernels.iterdir()):
        digest.update(source.read_bytes())
    units = {}
    for fault in faults:
        key = hashlib.sha256(digest.digest() + (fault["title"] + fault["op"]).encode()).digest()
        units.setdefault(fault["unit"], []).append((key, len(units), fault))
    chosen = [f for row in units.values() for f in sorted(row, key=lambda r: r[0])[: (len(row) + 4) // 5]]
    return [f for _, _, f in chosen]


def stands(fault, kernels):
    """Whether its text is in the sources exactly once."""
    old = "\n".join(fault["old"])
    return bool(old) and (kernels / fault["file"]).read_text().count(old) == 1


def plant(fault, kernels, folder):
    """Copies the unit and all headers to `folder` and plants the fault; False where its text is not there once."""
    for source in [kernels / fault["unit"], *kernels.glob("*.cuh")]:
        shutil.copy(source, folder)
    if not stands(fault, folder):
        return False
    target = folder / fault["file"]
    target.write_text(target.read_text().replace("\n".join(fault["old"]), "\n".join(fault["new"])))
    return True


def compile_command(commands, kernels, unit, source, output):
    """The plugin's own command for this kernel, with the copy in its place and less optimisation (it runs once)."""
    words = shlex.split(commands[str(kernels / unit)])
    words[words.index("-o") + 1] = str(output)
    words[words.index("-c") + 1] = str(source)
    return [w for w in words if w not in ("-g", "-g1", "-O3", "-Werror")] + ["-O1", f"-I{kernels}", "-w"]


def run_schedules(program, unit, op, races):
    """(schedule, reason) of the first failing run, or None. Kernels run as our own; glue runs the libraries' stand-ins, once."""
    glue = unit.endswith(".c")
    for schedule in SCHEDULES[:1] if glue or races else SCHEDULES:
        try:
            r = subprocess.run([program, "emulated", op, "first"], capture_output=True, text=True, errors="replace", timeout=RUN_SECONDS,
                               env=dict(os.environ, HONE_SIMT=schedule, HONE_CUDA_LIBRARIES="all" if glue else "own"))
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{op} does not end in {RUN_SECONDS} s") from None
        if races:
            named = re.search(r"WARNING: ThreadSanitizer: data race.*?(#0 .*?)$", r.stderr, re.M | re.S)
            return (schedule, "data race: " + named.group(1).strip()[:130]) if named else None
        if r.returncode != 0:
            said = re.search(r"^simt: .*", r.stderr, re.M) or re.search(rf"^(\[.*\] )?emulated.*{op}.*|^.*\"[-0-9x iu]+.*", r.stderr, re.M)
            return schedule, (said.group(0) if said else f"exit status {r.returncode}")[:150]
        if "cases ran on device" not in r.stdout + r.stderr:
            raise RuntimeError(f"no case ran for {op}")
    return None


def try_fault(fault, setting):
    with tempfile.TemporaryDirectory(dir=setting["scratch"]) as name:
        folder = pathlib.Path(name)
        if not plant(fault, setting["kernels"], folder):
            return "stale", "its text does not stand once in " + fault["file"]
        new = folder / "mutated.o"
        done = subprocess.run(compile_command(setting["commands"], setting["kernels"], fault["unit"], folder / fault["unit"], new),
                              cwd=setting["build"], capture_output=True, text=True)
        if done.returncode != 0:
            return "stale", "does not compile: " + done.stderr[:300]
        objects = [str(new) if pathlib.Path(o).name.startswith(fault["unit"] + ".") else o for o in setting["objects"]]
        plugin = folder / setting["plugin"]
        subprocess.run(["c++", "-shared", *setting["link"], "-o", plugin, *objects], cwd=setting["build"], check=True)
        (folder / "tests").mkdir()
        program = folder / "tests" / "test_cases"  # a plugin is looked for beside the program's own folder
        try:
            os.link(setting["test_cases"], program)
        except OSError:
            shutil.copy(setting["test_cases"], program)
        caught = run_schedules(str(program), fault["unit"], fault["op"], "-fsanitize=thread" in setting["link"])
        return ("caught", f"{caught[0]}: {caught[1]}") if caught else ("missed", "no schedule fails")


def main():
    source, build, test_cases, plugin, *objects = sys.argv[1:]
    here = pathlib.Path(__file__).parent
    only = os.environ.get("HONE_MUTANT", "")
    kernels = pathlib.Path(source) / "kernels" / "cuda"
    faults = [f for f in read_list(here / "mutants.list") if only in f["title"]]
    lost = [f for f in faults if not stands(f, kernels)]
    if not only and os.environ.get("HONE_MUTANTS") != "all":
        faults = draw(faults, kernels, (here / "mutants.list").read_bytes())
    commands = {e["file"]: e["command"] for e in json.loads((pathlib.Path(build) / "compile_commands.json").read_text())
                if (e["file"].endswith(".cu") and "-x c++" in e["command"])  # not nvcc's
                or (e["file"].endswith(".c") and "hone_emulated.dir" in e["command"])}  # host glue, as the emulated device has it
    scratch = pathlib.Path(build) / "mutants"
    scratch.mkdir(exist_ok=True)
    sanitize = re.search(r"-fsanitize=\S+", " ".join(commands.values()))
    setting = {"kernels": kernels, "build": build, "test_cases": test_cases, "plugin": plugin,
               "objects": objects, "commands": commands, "scratch": scratch, "link": [sanitize.group(0)] if sanitize else []}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda f: try_fault(f, setting), faults))
    for fault, (verdict, why) in zip(faults, results):
        print(f"{verdict:6}  {fault['file']:15} {fault['op']:17} {fault['title']}\n{'':25}{why}")
    for fault in lost:
        print(f"stale   {fault['file']:15} {fault['op']:17} {fault['title']}\n{'':25}its text does not stand once in {fault['file']}")
    caught = sum(verdict == "caught" for verdict, _ in results)
    stale = len(lost) + sum(verdict == "stale" for verdict, _ in results)
    print(f"{caught} of {len(faults)} planted faults caught, {stale} no longer fit the sources")
    return 0 if faults and not stale and caught >= CAUGHT_LEAST * len(faults) else 1


if __name__ == "__main__":
    sys.exit(main())
