"""Measure the house: rooms, imports between them, lengths of files and functions, sentences of the README.

    python -m bench.house                         # print, and write bench/results/house.json
    python -m bench.house --before PATH           # beside it, the numbers of an earlier tree

A *room* is a package or module directly below ``dual_jax``. An *arrow* is a pair of rooms, the first of which
imports the other. *Floors* are the rooms on the longest chain of arrows. The length of a function leaves out
its docstring and the functions inside it. Words of the README are those of its paragraphs and lists; code,
tables and pictures are left out.
"""

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from dual_jax.data.storage import write_atomically

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "bench" / "results" / "house.json"
FRONT_DOORS = {"__init__", "__main__"}
LONG_FUNCTION = 40
Function = ast.FunctionDef | ast.AsyncFunctionDef


def measure(root: Path) -> dict[str, Any]:
    """Return the numbers of a tree that holds ``dual_jax`` and ``README.md``."""
    package = root / "dual_jax"
    files = sorted(package.rglob("*.py"))
    sources = {path.relative_to(package).as_posix(): path.read_text() for path in files}
    lines = {name: text.count("\n") for name, text in sources.items()}
    lengths = {
        f"{name}:{function.name}": length(function)
        for name, text in sources.items()
        for function in functions(ast.parse(text))
    }
    imported = arrows(package)
    words = [len(sentence.split()) for sentence in sentences((root / "README.md").read_text())]
    longest_file = max(lines, key=lambda name: lines[name])
    longest_function = max(lengths, key=lambda name: lengths[name])
    top = [path for path in package.iterdir() if path.name != "__pycache__"]
    return {
        "rooms": len(rooms(package)),
        "arrows": sum(map(len, imported.values())),
        "floors": floors(imported),
        "python_entries_at_the_top": sum(path.is_dir() or path.suffix == ".py" for path in top),
        "files": len(files),
        "lines": sum(lines.values()),
        "longest_file": [longest_file, lines[longest_file]],
        "files_above_400_lines": sum(n > 400 for n in lines.values()),
        "functions": len(lengths),
        "functions_above_40_lines": sum(n > LONG_FUNCTION for n in lengths.values()),
        "longest_function": [longest_function, lengths[longest_function]],
        "readme_lines": (root / "README.md").read_text().count("\n"),
        "readme_mean_sentence": round(sum(words) / len(words), 1),
        "readme_longest_sentence": max(words),
    }


def rooms(package: Path) -> set[str]:
    """Return the names directly below the package that hold code, without the package's front doors."""
    return {path.stem for path in package.iterdir() if is_code(path)} - FRONT_DOORS


def is_code(path: Path) -> bool:
    return path.suffix == ".py" or (path / "__init__.py").exists()


def arrows(package: Path) -> dict[str, set[str]]:
    """Return for each room the other rooms that it imports, also inside functions."""
    known = rooms(package)
    found: dict[str, set[str]] = {name: set() for name in known}
    for path in package.rglob("*.py"):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        if room in known:
            found[room] |= {*imports(ast.parse(path.read_text()))} & known - {room}
    return found


def imports(tree: ast.Module) -> Iterator[str]:
    """Give the names below ``dual_jax`` that a file imports, their first part."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "dual_jax":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dual_jax."):
            yield (node.module or "").split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("dual_jax."))


def floors(imported: dict[str, set[str]]) -> int:
    """Return the number of rooms on the longest chain of imports."""

    @cache
    def height(room: str) -> int:
        return 1 + max(map(height, imported[room]), default=0)

    return max(map(height, imported))


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def length(function: Function) -> int:
    """Return the lines of a function, without its docstring and the functions inside it."""
    total = span(function)
    if ast.get_docstring(function) is not None:
        total -= span(function.body[0])
    inside = {inner for statement in function.body for inner in functions(statement)}
    nested = {deeper for inner in inside for deeper in functions(inner) if deeper is not inner}
    return total - sum(map(span, inside - nested))


def span(node: Any) -> int:
    return node.end_lineno - node.lineno + 1


def sentences(page: str) -> list[str]:
    """Return the sentences of a page, without code, tables, headings and pictures."""
    page = re.sub(r"```.*?```|<!--.*?-->", "\n\n", page, flags=re.DOTALL)
    page = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", lambda found: found[1] if found[0][0] != "!" else "", page)
    page = re.sub(r"`[^`]*`", "Code", page)
    page = re.sub(r"^(#|\|).*$", "", page, flags=re.MULTILINE)
    page = re.sub(r"^\s*(-|\d+\.)\s", "\n\n", page, flags=re.MULTILINE)
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", page))
    found = (piece for part in paragraphs for piece in re.split(r"(?<=[.!?])[*_]*\s+(?=[^a-z])", part))
    return [piece for piece in found if re.search(r"\w", piece)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, metavar="PATH", help="the root of an earlier tree")
    args = parser.parse_args()
    found = {"now": measure(ROOT)}
    if args.before:
        found["before"] = measure(args.before)
    elif OUT.exists() and (before := json.loads(OUT.read_text()).get("before")):
        found["before"] = before
    for name, value in found["now"].items():
        print(f"{name:28} {found.get('before', {}).get(name, '')!s:>40} {value!s:>40}")
    write_atomically(OUT, json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
