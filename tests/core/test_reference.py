"""The reference evaluator is independent: its imports from segops are listed here."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core import geo, values
from segops.core.features.orders import Purchases
from segops.core.features.sequence import Sequence, SequenceStep
from segops.core.rules import model, reference
from segops.core.rules.reference import values as slow
from segops.core.scoring.rfm import Rfm

FOLDER = Path(reference.__file__).parent
PACKAGE = "segops.core.rules.reference"
#: Module -> the names that the evaluator may import from it.
SHARED = {
    "segops.core.conversions": {"CONVERSIONS"},  # the conversions of a value
    "segops.core.events": {"Event"},  # the type of a decoded event
    "segops.core.areas": {"Area", "Box", "Circle", "Polygon"},  # the areas of a node
    "segops.core.lookups": {"LOOKUP", "columns_of", "key_path", "rows_of"},  # the tables that a path names
    "segops.core.rules": {"model"},  # the tree of a rule ...
    "segops.core.rules.figures": {  # ... and the figures in it
        "AggregateFigure",
        "ClockFigure",
        "CountFigure",
        "DaysFigure",
        "DigitFigure",
        "DistanceFigure",
        "Figure",
        "FrozenFigure",
        "Number",
        "PercentileFigure",
        "RatioFigure",
        "ScoreFigure",
        "TierFigure",
        "TraitFigure",
        "figures_of",
        "leaf_figures",
    },
    "segops.core.operators": {
        "Age",
        "Anniversary",
        "Predicate",
        "next_anniversary",
    },  # the operators of a predicate ...
    "segops.core.rules.model": {"ScoreNode"},
    "segops.core.features.orders": {"Purchases"},  # which orders a grid counts ...
    "segops.core.scoring.rfm": {"Actions"},  # ... or which other actions
    "segops.core.scoring.models": {"Input", "Isotonic", "Platt", "Tree"},  # the parameters of models ...
    "segops.core.scoring.order_scores": {"OrderScore"},
    "segops.core.scoring.affinity": {"AffinityScore", "lift"},
    "segops.core.scoring.own": {"OwnScore", "OwnScorer"},  # the functions that others install
    "segops.core.scoring.figure_scores": {"IntentScore", "TreesScore", "WeightedScore"},
    "segops.core.scoring.buying": {"History"},  # ... and the formulas of the papers
    "segops.core.scoring.spending": {"lifetime_value"},
    "segops.core.refresh": {"Refresh"},  # the instants at which a figure is computed
    "segops.core.values": {"format_instant", "parse_instant"},  # ... which read dates
    "segops.core.windows": {
        "Between",
        "Calendar",
        "Fixed",
        "SinceLast",
        "Window",
        "Within",
        "period",
    },  # the calendar
}
#: Methods of tree nodes that compute for the compiled side.
COMPUTED = {
    name
    for part in (*model.Node.__args__, Rfm, Purchases, Sequence, SequenceStep)
    for name, member in inspect.getmembers(part, lambda m: inspect.isfunction(m) or isinstance(m, property))
    if not name.startswith("_")
}


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield each import from segops: the module and the name ('' for the whole module)."""
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
    """Return the uses of methods that compute; allowed are a predicate's ``holds`` and an own scorer."""
    tests = ("test", "count", "_exactly")
    found = []
    for node in ast.walk(ast.parse(source)):
        if ast.unparse(node) == "scorer.value":
            continue
        if isinstance(node, ast.Attribute) and node.attr in COMPUTED:
            of = node.value.func if isinstance(node.value, ast.Call) else node.value
            if node.attr != "holds" or ast.unparse(of).split(".")[-1] not in tests:
                found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_evaluator_shares_only_the_tree_operators_and_calendar(path: Path) -> None:
    source = path.read_text("utf-8")
    assert foreign(source) == []
    assert borrowed(source) == []


def test_imports_and_uses_of_the_compiled_side_are_found() -> None:
    assert foreign("from segops.core.values import equal, parse_instant") == [("segops.core.values", "equal")]
    assert foreign("import segops.core.geo") == [("segops.core.geo", "")]
    assert foreign("from ..leaves import exact_test") == [("..leaves", "exact_test")]
    assert foreign("def late():\n    from segops.core.scoring import SCORERS") != []
    assert foreign(f"import math\nfrom {PACKAGE}.values import same") == []
    assert {"holds", "value", "tier", "paths"} <= COMPUTED
    assert sorted(borrowed("node.holds(1, 2), node.rfm.value(b, n), node.sequence.paths")) == [
        "node.holds",
        "node.rfm.value",
        "node.sequence.paths",
    ]
    assert borrowed("node.test.holds(1, 2), _exactly(node.test).holds(3, 4)") == []


numbers = st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False))
found = st.recursive(
    st.one_of(
        st.booleans(),
        st.sampled_from([0, 0.0, -0.0, 1, 1.0, 20, 20.0, "1", ""]),
        numbers,
        st.text(max_size=2),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=3,
)
places = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


@given(st.lists(found, max_size=4))
def test_both_sides_distinguish_the_same_values(several: list[object]) -> None:
    assert slow.different(several) == len({values.distinct_key(value) for value in several})
    for a in several:
        for b in several:
            assert slow.same(a, b) == values.equal(a, b) == (values.distinct_key(a) == values.distinct_key(b))


@given(numbers)
def test_both_sides_convert_a_number_to_the_same_decimal(number: float) -> None:
    assert slow.exact(number) == values.exact(number)


@given(places, places)
def test_both_sides_measure_equal_distances(a: tuple[float, float], b: tuple[float, float]) -> None:
    """Compare to the metre: near the antipodes the haversine formula loses all further digits."""
    assert slow.distance_m(a, b) == pytest.approx(geo.distance_m(a, b), rel=1e-9, abs=1)


@given(st.text(), st.text())
def test_both_sides_compute_the_same_share(salt: str, profile_id: str) -> None:
    assert slow.percent(salt, profile_id) * 100 == values.share_of(salt, profile_id)
