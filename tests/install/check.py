#!/usr/bin/env python3
"""libhone as a program meets it: installed, found by pkg-config and CMake, used by examples/predict.c.

usage: check.py REPO BUILD     run by ctest; needs cc, pkg-config, cmake
       check.py REPO BUILD PROGRAM     PROGRAM is the example of a sanitizer build: only its answers, from eight threads
Installs BUILD into a scratch root through DESTDIR, moves the tree elsewhere (it must not care), builds the example
against it in three ways, and wants the very answers of `hone predict`, from eight threads at once. Trains the two small
models it asks about. With valgrind at hand the example runs under it, too.
"""
import json
import pathlib
import os
import shutil
import subprocess
import sys
import tempfile

repo, build = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])

IMAGE = """task: image
data: {synthetic: {shape: [12, 10, 3], classes: 4, samples: 40}}
model: {layers: [conv: {out: 8}, batchnorm, relu, maxpool, flatten, linear: {out: classes}]}
train: {epochs: 1, batch: 8}
"""
TEXT = """task: text
data: {path: rows.tsv, val_fraction: 0}
text: {ngram: {words: [1, 2], buckets: 500, min_count: 1}}
model: {layers: [embedding_bag: 12, linear: classes]}
train: {epochs: 2, batch: 8, optimizer: {name: sgd, lr: 1, momentum: 0}}
"""
CMAKE = """cmake_minimum_required(VERSION 3.22)
project(app C)
find_package(Threads REQUIRED)
find_package(hone 0.1 REQUIRED COMPONENTS static)
add_executable(shared predict.c)
target_link_libraries(shared PRIVATE hone::hone Threads::Threads)
add_executable(alone predict.c)
target_link_libraries(alone PRIVATE hone::static)
"""


def run(*command, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def install(scratch):
    """The root of the moved tree, its pkg-config folder, its library folder."""
    run("cmake", "--install", build, "--prefix", "/opt/hone", env={**os.environ, "DESTDIR": str(scratch / "stage")})
    staged = [p.relative_to(scratch / "stage").as_posix() for p in (scratch / "stage").rglob("*") if p.is_file()]
    assert all(p.startswith("opt/hone/") for p in staged), "DESTDIR was not respected"
    root = scratch / "moved"
    shutil.move(scratch / "stage" / "opt" / "hone", root)
    library = next(root.rglob("libhone.so.0")).parent
    for text in ("hone.pc", "hone-config.cmake", "hone-shared.cmake"):
        body = next(root.rglob(text)).read_text()
        assert "/opt/hone" not in body and str(build) not in body, f"{text} names a fixed folder"
    soname = run("readelf", "-d", library / "libhone.so.0")
    assert "SONAME" in soname and "[libhone.so.0]" in soname and "RUNPATH" not in soname, soname
    run(sys.executable, repo / "tests" / "public_names.py", repo, library / "libhone.so.0")
    return root, library


def train(hone, scratch):
    (scratch / "image.yaml").write_text(IMAGE)
    (scratch / "text.yaml").write_text(TEXT)
    rows = [f"c{k % 3}\tword{k % 3} word{k} other" for k in range(60)]
    (scratch / "rows.tsv").write_text("label\ttext\n" + "\n".join(rows) + "\n")
    for name in ("image", "text"):
        run(hone, "train", f"{name}.yaml", "--out", name, "--quiet", cwd=scratch)
    for k in range(3):
        pixels = bytes((i * (7 + k) + k) % 256 for i in range(3 * 20 * 16))
        (scratch / f"p{k}.ppm").write_bytes(b"P6\n20 16\n255\n" + pixels)
    return {"image": ["p0.ppm", "p1.ppm", "p2.ppm"], "text": ["word1 word4", "word2 other", "nothing known"]}


def wanted(hone, scratch, model, inputs):
    """What the command says, in the example's form."""
    out = run(hone, "predict", model, *inputs, "--format", "jsonl", "--top", "1", cwd=scratch)
    rows = [json.loads(line) for line in out.splitlines()]
    return [(r["input"], r["label"], r["score"]) for r in rows]


def check(program, scratch, env, want, model, inputs, before=(), threads=8):
    out = run(*before, program, "-t", str(threads), model, *inputs, cwd=scratch, env=env)
    rows = [line.split("\t") for line in out.splitlines()]
    got = [(name, label, float(score)) for name, label, score in rows]
    if got != want:
        sys.exit(f"{program}: {got}\nhone predict: {want}")


def check_built(program):
    """A race or a read too far ends the example with an exit code of the sanitizer's, which run() reports."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        hone = (build / "hone").resolve()
        for model, given in train(hone, scratch).items():
            check(program, scratch, None, wanted(hone, scratch, model, given), model, given)
    print("the example under the sanitizers: clean, 8 threads")


def main():
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        root, library = install(scratch)
        hone = next(root.rglob("bin/hone"))
        env = {**os.environ, "PKG_CONFIG_PATH": str(library / "pkgconfig"), "LD_LIBRARY_PATH": str(library)}
        inputs = train(hone, scratch)
        flags = run("pkg-config", "--cflags", "--libs", "hone", env=env).split()
        example = next(root.rglob("examples/predict.c"))
        run("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-D_POSIX_C_SOURCE=200809L", example, *flags, "-o", scratch / "piped")
        head = (root / "include" / "hone" / "hone.h").read_text()
        program = "\n".join(line[3:] for line in head.split("*/")[0].splitlines() if line.startswith(" *     "))
        (scratch / "head.c").write_text(program + "\n")
        run("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", scratch / "head.c", *flags, "-o", scratch / "head")
        (scratch / "app").mkdir()
        (scratch / "app" / "CMakeLists.txt").write_text(CMAKE)
        shutil.copy(example, scratch / "app")
        run("cmake", "-S", scratch / "app", "-B", scratch / "app" / "b", f"-DCMAKE_PREFIX_PATH={root}")
        run("cmake", "--build", scratch / "app" / "b")
        programs = [scratch / "piped", scratch / "app" / "b" / "shared", scratch / "app" / "b" / "alone"]
        for model, given in inputs.items():
            want = wanted(hone, scratch, model, given)
            for p in programs:
                check(p, scratch, env, want, model, given)
            if shutil.which("valgrind"):
                check(programs[0], scratch, env, want, model, given,
                      before=("valgrind", "-q", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect,possible"))
        text = wanted(hone, scratch, "text", inputs["text"][:1])[0]
        assert run(scratch / "head", "text", inputs["text"][0], cwd=scratch, env=env) == f"{text[1]} {text[2]:.3f}\n"
        broken = subprocess.run([scratch / "piped", "image", "rows.tsv"], cwd=scratch, env=env, capture_output=True, text=True)
        assert broken.returncode == 1 and "rows.tsv" in broken.stderr, broken.stderr
    print(f"installed, moved, found and used: {len(programs)} programs, 8 threads; valgrind: {'clean' if shutil.which('valgrind') else 'not here, skipped'}")


if len(sys.argv) > 3:
    check_built(pathlib.Path(sys.argv[3]).resolve())
else:
    main()
