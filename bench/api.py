"""Write `dual_jax/API.md`: every public name with its signature and the first paragraph of its docstring.

    python -m bench.api            # write
    python -m bench.api --check    # exit status 1 where the page differs from the code

Signatures are read from the source, so that the page is the same for all versions of Python and JAX.
"""

import argparse
import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dual_jax
from dual_jax.data.storage import write_atomically

PACKAGE = Path(dual_jax.__file__).parent
PAGE = PACKAGE / "API.md"
HEAD = """# The public names of dual_jax

`import dual_jax as dj`. This page is written by `python -m bench.api` from the code, and checked by a test.
The docstring of each name describes its arguments, and has an example that the tests run.
"""
WIDTH = 100


def page() -> str:
    """Return the whole page."""
    return "\n".join([HEAD, *(entry(name) for name in sorted(dual_jax.__all__, key=str.lower))])


def entry(name: str) -> str:
    """Return the entry of a public name: heading, signature, first paragraph, public methods."""
    value = getattr(dual_jax, name)
    if not callable(value):
        home = sys.modules["dual_jax.methods"]
        return f"## `{name}`\n\n{about(home.__doc__)}\n\nIn {link(Path(home.__file__ or ''))}.\n"
    value = inspect.unwrap(value)
    node = definition(value)
    lines = [f"## `{name}`", "", "```python", signature(name, node), "```", "", about(value.__doc__), ""]
    methods = [*public_methods(node)] if isinstance(node, ast.ClassDef) else []
    lines += [f"- `{title}`: {first_line(method)}" for title, method in methods]
    lines += [""] * bool(methods)
    return "\n".join([*lines, f"In {link(Path(inspect.getsourcefile(value) or ''))}.", ""])


def definition(value: Any) -> ast.FunctionDef | ast.ClassDef:
    """Return the definition of a function or class in its source."""
    node = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    return node


def signature(name: str, node: ast.FunctionDef | ast.ClassDef) -> str:
    """Return a call of a function or class, one argument on each line where it is long."""
    if isinstance(node, ast.FunctionDef):
        arguments, returns = arguments_of(node.args), node.returns
    else:
        methods = {method.name: method for method in node.body if isinstance(method, ast.FunctionDef)}
        own = methods.get("__init__")
        arguments = arguments_of(own.args)[1:] if own else [ast.unparse(f) for f in fields(node)]
        returns = None
    end = f" -> {ast.unparse(returns)}" if returns is not None else ""
    short = f"{name}({', '.join(arguments)}){end}"
    if len(short) <= WIDTH:
        return short
    return "\n".join([f"{name}(", *(f"    {argument}," for argument in arguments), f"){end}"])


def arguments_of(args: ast.arguments) -> list[str]:
    """Return the arguments of a function as they are written, ``*`` and ``**`` among them."""
    positional = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(positional) - len(args.defaults)) + args.defaults
    found = [argument(arg, default) for arg, default in zip(positional, defaults, strict=True)]
    if args.vararg:
        found.append(f"*{ast.unparse(args.vararg)}")
    elif args.kwonlyargs:
        found.append("*")
    found += [argument(arg, default) for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    return found + ([f"**{ast.unparse(args.kwarg)}"] if args.kwarg else [])


def argument(arg: ast.arg, default: ast.expr | None) -> str:
    equals = " = " if arg.annotation else "="
    return ast.unparse(arg) + (f"{equals}{ast.unparse(default)}" if default is not None else "")


def fields(node: ast.ClassDef) -> list[ast.AnnAssign]:
    """Return the fields of a dataclass or NamedTuple."""
    return [statement for statement in node.body if isinstance(statement, ast.AnnAssign)]


def public_methods(node: ast.ClassDef) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Give the public methods and properties of a class that have a docstring, as they are called."""
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name[0] != "_" and ast.get_docstring(method):
            is_property = any(ast.unparse(mark) == "property" for mark in method.decorator_list)
            names = [text.partition(":")[0].partition("=")[0] for text in arguments_of(method.args)[1:]]
            yield method.name + ("" if is_property else f"({', '.join(map(str.strip, names))})"), method


def first_line(method: ast.FunctionDef) -> str:
    return about(ast.get_docstring(method))


def about(docstring: str | None) -> str:
    """Return the first paragraph of a docstring as Markdown."""
    paragraph = inspect.cleandoc(docstring or "").partition("\n\n")[0]
    return paragraph.replace("``", "`").replace("\n", " ")


def link(path: Path) -> str:
    relative = path.resolve().relative_to(PACKAGE).as_posix()
    return f"[{relative}]({relative})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, say whether the page differs")
    check = parser.parse_args().check
    is_stale = not PAGE.exists() or PAGE.read_text() != page()
    if is_stale and check:
        print(f"{PAGE.name} differs from the code: run python -m bench.api")
    elif is_stale:
        write_atomically(PAGE, page())
    return int(check and is_stale)


if __name__ == "__main__":
    sys.exit(main())
