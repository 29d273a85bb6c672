"""Models of scikit-learn's coefficients and trees, computed beside: by hand over the exported arrays."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from segops.core.errors import DefinitionError
from segops.fitting.imported import imported
from segops.schemas.models import read_model, written
from tests.command import run

FEATURES = """
version: 1
features:
  views: {figure: {did: View, within: 24h}, transform: log1p}
  carts: {figure: {did: Cart, within: 7d}, missing: 1, mean: 2, scale: 4}
"""
NAMES = ["views", "carts"]
LOGISTIC = {"feature_names_in_": NAMES, "coef_": [[0.5, -1.5]], "intercept_": [0.25], "classes_": [0, 1]}
#: views <= 1.5 ? (carts <= 3 ? 1 : 2) : 3
TREE = {
    "children_left": [1, 2, -1, -1, -1],
    "children_right": [4, 3, -1, -1, -1],
    "feature": [0, 1, -2, -2, -2],
    "threshold": [1.5, 3.0, -2.0, -2.0, -2.0],
    "value": [[[0.0]], [[0.0]], [[1.0]], [[2.0]], [[3.0]]],
}
TREES = {"feature_names_in_": NAMES, "trees": [TREE]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "features.yaml").write_text(FEATURES)
    return tmp_path


def made(folder: Path, exported: Any, **options: Any) -> dict[str, Any]:
    (folder / "exported.json").write_text(json.dumps(exported))
    return imported(folder / "exported.json", folder / "features.yaml", name="churn", **options)


def refused(folder: Path, exported: Any) -> list[str]:
    with pytest.raises(DefinitionError) as found:
        made(folder, exported)
    return [str(issue).removeprefix(f"{folder}/") for issue in found.value.issues]


def test_coefficients_become_weights(folder: Path) -> None:
    form = made(folder, LOGISTIC)
    assert form["kind"] == "logistic"
    assert form["parameters"] == {"intercept": 0.25, "weights": {"views": 0.5, "carts": -1.5}}
    views, carts = form["features"]
    assert (views["figure"], views["transform"], views["missing"]) == (
        {"did": "View", "within": "24h"},
        "log1p",
        0.0,
    )
    assert (carts["missing"], carts["mean"], carts["scale"]) == (1.0, 2.0, 4.0)
    one_row = {**LOGISTIC, "coef_": [0.5, -1.5], "intercept_": 0.25}
    assert made(folder, one_row) == form
    assert (
        made(folder, {key: each for key, each in LOGISTIC.items() if key != "classes_"})["kind"] == "linear"
    )
    assert made(folder, LOGISTIC, kind="linear")["kind"] == "linear"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"coef_": [[1.0]]}, "coef_: expected 2 numbers, one per feature, got 1"),
        ({"coef_": [[1, 2], [3, 4]]}, "coef_: expected one output, got 2"),
        ({"intercept_": [1, 2]}, "intercept_: expected one output, got 2"),
        ({"classes_": [0, 1, 2]}, "classes_: expected 2 classes, got 3"),
        ({"n_iter_": [7]}, "n_iter_: "),
        ({"feature_names_in_": ["views", "returns"]}, "missing: returns, which"),
    ],
)
def test_coefficients_that_are_not_of_one_output_are_refused(
    folder: Path, change: dict[str, Any], reason: str
) -> None:
    found = refused(folder, {**LOGISTIC, **change})
    assert any(reason in each for each in found), found


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"threshold": [1.5]}, "trees[0].threshold: expected 5 entries, got 1"),
        ({"feature": [0, 2, -2, -2, -2]}, "trees[0].feature[1]: expected a number from 0 to 1, got 2"),
        ({"children_right": [9, 3, -1, -1, -1]}, "trees[0].children_right[0]: expected a number from 0 to 4"),
        ({"value": [0, 0, 1, 2, [1, 2, 3]]}, "trees[0].value[4]: expected a number, or the weights of two"),
        ({"children_left": "none"}, "trees[0].children_left"),
    ],
)
def test_broken_trees_are_refused(folder: Path, change: dict[str, Any], reason: str) -> None:
    found = refused(folder, {**TREES, "trees": [{**TREE, **change}]})
    assert any(each.startswith(f"exported.json: {reason}") for each in found), found


def test_mistakes_in_the_mapping_are_named(folder: Path) -> None:
    (folder / "features.yaml").write_text("version: 1\nfeatures: {views: {figur: 5}, carts: {figure: 5}}")
    assert refused(folder, LOGISTIC) == [
        "features.yaml: features.views.figure: missing key",
        "features.yaml: features.views.figur: unknown key",
    ]
    (folder / "features.yaml").write_text("{")
    assert refused(folder, LOGISTIC)[0].startswith("features.yaml: line 2, column 1")


def sklearn_value(tree: dict[str, Any], row: list[float]) -> float:
    """Walk through the arrays as scikit-learn documents them."""
    node = 0
    while tree["children_left"][node] != -1:
        low = row[tree["feature"][node]] <= tree["threshold"][node]
        node = tree["children_left" if low else "children_right"][node]
    return float(tree["value"][node][0][0])


def model_value(form: dict[str, Any], row: list[float]) -> float:
    """Walk through the trees of a model file."""
    total = form["parameters"]["intercept"]
    for tree in form["trees"]:
        node = 0
        while tree["feature"][node] >= 0:
            low = row[tree["feature"][node]] <= tree["threshold"][node]
            node = tree["left" if low else "right"][node]
        total += tree["value"][node]
    return float(total)


@st.composite
def trees(draw: st.DrawFn, depth: int = 3) -> dict[str, Any]:
    """Return the arrays of a random tree, in the order in which scikit-learn numbers the nodes."""
    found: dict[str, list[Any]] = {key: [] for key in TREE}

    def grow(left: int) -> int:
        at, leaf = len(found["value"]), not left or draw(st.booleans())
        for key, value in (("children_left", -1), ("children_right", -1)):
            found[key].append(value)
        found["feature"].append(-2 if leaf else draw(st.integers(0, 1)))
        found["threshold"].append(-2.0 if leaf else draw(st.floats(-5, 5)))
        found["value"].append([[draw(st.floats(-3, 3))]])
        if not leaf:
            found["children_left"][at] = grow(left - 1)
            found["children_right"][at] = grow(left - 1)
        return at

    grow(depth)
    return found


@hypothesis_settings(max_examples=40)
@given(
    found=st.lists(trees(), min_size=1, max_size=4),
    row=st.lists(st.floats(-6, 6), min_size=2, max_size=2),
    average=st.booleans(),
    rate=st.floats(0.01, 1),
    init=st.floats(-1, 1),
)
def test_imported_trees_have_the_values_of_the_exported_ones(
    tmp_path_factory: pytest.TempPathFactory,
    found: list[dict[str, Any]],
    row: list[float],
    average: bool,
    rate: float,
    init: float,
) -> None:
    folder = tmp_path_factory.mktemp("trees")
    (folder / "features.yaml").write_text(FEATURES)
    exported = {**TREES, "trees": found, "average": average, "learning_rate": rate, "init": init}
    form = made(folder, exported)
    values = [sklearn_value(each, row) for each in found]
    expected = init + rate * sum(values) / (len(values) if average else 1)
    assert math.isclose(model_value(form, row), expected, rel_tol=1e-9, abs_tol=1e-9)
    model = read_model({**form, "fitted_at": "2026-01-01T00:00:00Z"}, "x")
    assert written(model) == written(read_model(written(model), "x"))


def test_classes_of_a_tree_become_the_share_of_the_second(folder: Path) -> None:
    weights = [[[4, 4]], [[2, 2]], [[3, 1]], [[0, 8]], [[1.0, 0.0]]]
    form = made(folder, {**TREES, "trees": [{**TREE, "value": weights}], "link": "identity"})
    assert form["trees"][0]["value"] == [0.5, 0.5, 0.25, 1.0, 0.0]


def test_the_command_writes_a_file_that_is_checked(folder: Path) -> None:
    (folder / "c.json").write_text(json.dumps(LOGISTIC))
    file = folder / "churn.json"
    options = ["--name", "churn", "--features", folder / "features.yaml"]
    done = run("models", "import", folder / "c.json", *options, "--model", file)
    assert (done.status, done.err) == (0, ""), done.err
    assert json.loads(file.read_text())["trained_on"] == {"source": "c.json"}
    assert run("models", "check", file).out == "churn: logistic, ready: OK\n"
    printed = run("models", "import", folder / "c.json", *options)
    assert json.loads(printed.out)["parameters"] == json.loads(file.read_text())["parameters"]
    (folder / "features.yaml").write_text(FEATURES.replace("{did: View, within: 24h}", "{did: View, of: 5}"))
    done = run("models", "import", folder / "c.json", *options)
    assert done.status == 2 and "features[0].figure" in done.err
