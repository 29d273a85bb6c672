"""Size limits: small functions, short modules, few arguments."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path(__file__).parents[1] / "segops"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((PACKAGE.parent / "tests").rglob("*.py"))
FUNCTION_LINES, MODULE_LINES, POSITIONAL = 50, 400, 5

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


@cache
def functions_of(path: Path) -> list[Function]:
    return list(functions(ast.parse(path.read_text("utf-8"))))


def lines(function: Function) -> int:
    """Return the number of lines of a function from ``def`` to its end, without its docstring."""
    begin, end = function.lineno, function.end_lineno or function.lineno
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if documented else 0
    return end - begin + 1 - docstring


def positional(function: Function) -> int:
    """Return the number of positional arguments, without ``self`` and ``cls``."""
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    return len([name for name in names if name not in ("self", "cls")])


def broken(path: Path) -> Iterator[str]:
    source = path.read_text("utf-8")
    if source.count("\n") > MODULE_LINES:
        yield f"{source.count(chr(10))} lines"
    command = path.parent.name == "cli"  # each argument of a command is an option
    for function in functions_of(path):
        if lines(function) > FUNCTION_LINES:
            yield f"{function.name} has {lines(function)} lines"
        if positional(function) > POSITIONAL and not (command and function.decorator_list):
            yield f"{function.name} has {positional(function)} positional arguments"


def test_modules_and_their_functions_are_small() -> None:
    found = {str(path.relative_to(PACKAGE)): list(broken(path)) for path in MODULES}
    assert {path: reasons for path, reasons in found.items() if reasons} == {}


def test_test_modules_are_short() -> None:
    found = {str(path.relative_to(PACKAGE.parent)): path.read_text("utf-8").count("\n") for path in TESTS}
    assert {path: number for path, number in found.items() if number > MODULE_LINES} == {}


def test_most_functions_have_at_most_ten_lines() -> None:
    sizes = sorted(lines(f) for path in MODULES for f in functions_of(path))
    assert sizes[len(sizes) // 2] <= 8
    assert sizes[len(sizes) * 9 // 10] <= 25


@pytest.mark.parametrize(
    ("source", "measured"),
    [
        ("def f(): pass", 1),
        ('def f():\n    """One\n    two."""\n    return 1', 2),
        ("@cache\nasync def f():\n    return 1", 2),
    ],
)
def test_functions_are_measured_without_their_docstring(source: str, measured: int) -> None:
    assert lines(next(functions(ast.parse(source)))) == measured


def test_violations_are_found(tmp_path: Path) -> None:
    body: Any = "".join(f"    x{n} = {n}\n" for n in range(50))
    path = tmp_path / "large.py"
    path.write_text(f"def f(a, b, c, d, e, g):\n{body}" + "\n" * 400)
    assert list(broken(path)) == [
        "451 lines",
        "f has 51 lines",
        "f has 6 positional arguments",
    ]
