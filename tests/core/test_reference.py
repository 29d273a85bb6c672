"""The slow evaluator stands on its own: what it takes from elsewhere in segops is listed here."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from segops.core.features.orders import Purchases
from segops.core.features.sequence import Sequence, Step
from segops.core.rules import model, reference
from segops.core.scoring import Rfm

FOLDER = Path(reference.__file__).parent
PACKAGE = "segops.core.rules.reference"
#: Module -> the names that the evaluator may take from it.
SHARED = {
    "segops.core.events": {"Event"},  # an event as it is decoded: a type
    "segops.core.rules": {"model"},  # the tree of a rule
    "segops.core.operators": {"Anniversary", "Test", "next_anniversary"},  # the operators of a test ...
    "segops.core.values": {"parse_instant"},  # ... which read dates
    "segops.core.windows": {"Between", "Calendar", "Fixed", "Window", "Within", "period"},  # the calendar
}
#: What parts of the tree can compute by themselves, for the compiled side.
COMPUTED = {
    name
    for part in (*model.Node.__args__, Rfm, Purchases, Sequence, Step)
    for name, member in inspect.getmembers(part, lambda m: inspect.isfunction(m) or isinstance(m, property))
    if not name.startswith("_")
}


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Each import of something in segops: the module, and the name ('' for the module as a whole)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((module, alias.name) for alias in node.names if module.startswith(("segops", ".")))
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.startswith("segops"))


def foreign(source: str) -> list[tuple[str, str]]:
    found = imports(ast.parse(source))
    return [
        (module, name)
        for module, name in found
        if not f"{module}.".startswith(f"{PACKAGE}.") and name not in SHARED.get(module, ())
    ]


def borrowed(source: str) -> list[str]:
    """Uses of what a part of the tree computes; the one method in use is a test's ``holds``."""
    tests = ("test", "count", "_exactly")
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in COMPUTED:
            of = node.value.func if isinstance(node.value, ast.Call) else node.value
            if node.attr != "holds" or ast.unparse(of).split(".")[-1] not in tests:
                found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_the_evaluator_shares_only_the_tree_the_operators_and_the_calendar(path: Path) -> None:
    source = path.read_text("utf-8")
    assert foreign(source) == []
    assert borrowed(source) == []


def test_an_import_and_a_use_of_the_compiled_side_are_found() -> None:
    assert foreign("from segops.core.values import equal, parse_instant") == [("segops.core.values", "equal")]
    assert foreign("import segops.core.geo") == [("segops.core.geo", "")]
    assert foreign("from ..leaves import exact_test") == [("..leaves", "exact_test")]
    assert foreign("def late():\n    from segops.core.scores import SCORERS") != []
    assert foreign(f"import math\nfrom {PACKAGE}.values import same") == []
    assert {"holds", "digits", "tier", "paths"} <= COMPUTED
    assert sorted(borrowed("node.holds(1, 2), node.rfm.digits(b, n), node.sequence.paths")) == [
        "node.holds",
        "node.rfm.digits",
        "node.sequence.paths",
    ]
    assert borrowed("node.test.holds(1, 2), _exactly(node.test).holds(3, 4)") == []
