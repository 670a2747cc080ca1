#!/usr/bin/env python3
"""The rules of the house that a compiler does not know, checked from the text of the sources.

usage: house_rules.py REPO        prints figures and every violation; exit 1 if there is one
Run by ./dev lint and by ctest. Before looking at the tree it plants one violation of each rule in a
scratch tree and fails unless every one of them is found.
"""
import pathlib
import re
import sys
import tempfile

FILE_LINES = 600      # one concept a file
FUNCTION_LINES = 150  # hard cap; the 90th percentile must stay within FUNCTION_P90
FUNCTION_P90 = 60
COMMENT_SHARE = (0.20, 0.33)

# Which room may include which (src/ROOM/x.h); `include/hone` is open to all. Dependencies run one way.
USES = {
    "core": set(), "io": {"core"}, "config": {"core"}, "graph": {"core"}, "text": {"io", "core"}, "compile": {"graph", "core"},
    "model": {"compile", "graph", "config", "io", "core"}, "data": {"config", "io", "core"},
    "report": {"io", "core"},
    "train": {"model", "compile", "graph", "data", "text", "report", "config", "io", "core"},
    "onnx": {"train", "text", "model", "compile", "graph", "data", "config", "io", "core"},
    "export": {"onnx", "train", "text", "model", "compile", "graph", "data", "config", "io", "core"},
    "import": {"export", "train", "model", "compile", "graph", "config", "io", "core"},
    "cli": {"import", "export", "onnx", "train", "report", "text", "model", "compile", "graph", "data", "config", "io", "core"},
}
# Files that may hold #if besides include guards and extern "C": where the platform and libraries are told apart.
MAY_IF = {"kernels/registry.c", "src/core/thread.c", "include/hone/status.h", "include/hone/philox.h"}
PRINTS = re.compile(r"(?<![a-z_])(printf|puts|putchar|exit|abort|perror)\s*\(|fprintf\s*\(\s*std|fputs\s*\([^;]*std(out|err)")


def sources(root):
    for top in ("include", "src", "kernels"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix in (".c", ".h", ".cu", ".cuh", ".def"):
                yield path, path.relative_to(root).as_posix()


def strip_comments(text):
    """Comments and string contents blanked, line structure kept."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)

    def blank(match):
        s = match.group(0)
        return '""' if s[0] in "\"'" else re.sub(r"[^\n]", " ", s)

    return pattern.sub(blank, text)


def function_lengths(code):
    """(first line, length) of each function: with Linux braces its { and } stand in column 0."""
    start = None
    for number, line in enumerate(code.split("\n"), 1):
        if line.startswith("{"):
            start = number
        elif line.rstrip() == "}" and start:
            yield start, number - start + 1
            start = None
        elif line.startswith("}"):
            start = None


def check_includes(name, text, bad):
    parts = name.split("/")
    for match in re.finditer(r'^#include "([^"]+)"', text, re.M):
        inc = match.group(1)
        if inc.startswith("hone/"):
            continue
        room = inc.split("/")[0] if "/" in inc else None
        if parts[0] == "include":
            bad(f"{name}: a public header may include only hone/..., not {inc}")
        elif parts[0] == "kernels" and room in USES:
            bad(f"{name}: kernels may include nothing from src/, not {inc}")
        elif parts[0] == "src" and room != parts[1] and room is not None and room not in USES.get(parts[1], set()):
            bad(f"{name}: room {parts[1]} may not include {inc} (dependencies run one way)")


def check_preprocessor(name, text, bad):
    if name in MAY_IF:
        return
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        match = re.match(r"\s*#\s*(if|ifdef|ifndef|elif)\b\s*(.*)", line)
        if not match:
            continue
        condition = match.group(2).strip()
        guard = match.group(1) == "ifndef" and number < len(lines) and lines[number].startswith("#define " + condition)
        # HONE_REAL_BITS, HONE_ISA and instruction sets are parameters of a compilation, not features of a platform.
        allowed = guard or condition in ("__cplusplus",) or re.search(r"HONE_REAL_BITS|HONE_ISA|__AVX|__CUDACC__", condition)
        if not allowed:
            bad(f"{name}:{number}: #if outside the files that may hold one: {line.strip()}")


def check_tree(root):
    violations, lengths, code_lines, comment_lines = [], [], 0, 0
    bad = violations.append
    for path, name in sources(root):
        text = path.read_text(encoding="utf-8")
        code = strip_comments(text)
        lines = text.rstrip("\n").split("\n")
        if len(lines) > FILE_LINES:
            bad(f"{name}: {len(lines)} lines, at most {FILE_LINES}")
        if not text.startswith("/*"):
            bad(f"{name}: must open with a comment that says its contract")
        for start, length in function_lengths(code):
            lengths.append(length)
            if length > FUNCTION_LINES:
                bad(f"{name}:{start}: function of {length} lines, at most {FUNCTION_LINES}")
        check_includes(name, text, bad)
        check_preprocessor(name, text, bad)
        if name.startswith("src/") and not name.startswith("src/cli/"):
            for match in PRINTS.finditer(code):
                bad(f"{name}:{code.count(chr(10), 0, match.start()) + 1}: only src/cli prints or exits: {match.group(0)}")
        for match in re.finditer(r"\b(TODO|FIXME|XXX)\b", text):
            bad(f"{name}:{text.count(chr(10), 0, match.start()) + 1}: finish it or file it: {match.group(0)}")
        for original, stripped in zip(lines, code.split("\n")):
            code_lines += bool(stripped.strip())
            comment_lines += bool(re.search(r"//|/\*|\*/", original)) or (bool(original.strip()) and not stripped.strip())
    lengths.sort()
    p90 = lengths[int(0.9 * (len(lengths) - 1))] if lengths else 0
    share = comment_lines / max(code_lines, 1)
    if p90 > FUNCTION_P90:
        bad(f"90th percentile of function lengths is {p90}, at most {FUNCTION_P90}")
    if code_lines > 500 and not COMMENT_SHARE[0] <= share <= COMMENT_SHARE[1]:
        bad(f"comments on {share:.0%} of the code lines, wanted {COMMENT_SHARE[0]:.0%} to {COMMENT_SHARE[1]:.0%}")
    figures = (f"{code_lines} code lines, comments {share:.0%}; {len(lengths)} functions, median "
               f"{lengths[len(lengths) // 2] if lengths else 0}, p90 {p90}, longest {lengths[-1] if lengths else 0}")
    return violations, figures


def self_test():
    """Each planted violation must be found, and a clean tree must pass."""
    head = "/* x.c - a file. */\n"
    planted = {
        "src/core/long.c": (head + "int x;\n" * FILE_LINES, "lines, at most"),
        "src/core/bare.c": ("int x;\n", "must open with a comment"),
        "src/core/big.c": (head + "int f(void)\n{\n" + "    g();\n" * FUNCTION_LINES + "}\n", "function of"),
        "src/core/up.c": (head + '#include "train/x.h"\n', "dependencies run one way"),
        "kernels/ref/up.c": (head + '#include "graph/x.h"\n', "nothing from src"),
        "include/hone/x.h": (head + '#include "core/x.h"\n', "only hone/"),
        "src/graph/if.c": (head + "#ifdef HONE_CUDA\n#endif\n", "#if outside"),
        "src/io/print.c": (head + 'void f(void) { printf("x"); }\n', "only src/cli prints"),
        "src/io/todo.c": (head + "/* TO" + "DO: later */\n", "finish it"),
    }
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        for name, (text, _) in planted.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        found, _ = check_tree(root)
        missed = [name for name, (_, what) in planted.items() if not any(v.startswith(name) and what in v for v in found)]
    if missed:
        sys.exit(f"house_rules.py: planted violations were not found: {', '.join(missed)}")


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    self_test()
    violations, figures = check_tree(root)
    print(figures)
    for v in violations:
        print(v)
    sys.exit(1 if violations else 0)


main()
