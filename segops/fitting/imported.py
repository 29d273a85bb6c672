"""Models that another tool has fitted: from its coefficients or trees, as JSON, to the form of a model file.

The names are those of scikit-learn's attributes. A second file says which figure of the rule language each
feature is. No pickle is read, and nothing of the other tool is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from segops.core.errors import DefinitionError, Issue
from segops.schemas.issues import form_issues, unreadable
from segops.schemas.segment_input import parse

#: The children and the feature of a leaf.
_LEAF: Final = -1
Kind = Literal["logistic", "linear"]
_F = TypeVar("_F", bound=BaseModel)


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class FeatureForm(_Form):
    """How a figure becomes a feature of a model, as in a model file."""

    figure: Any
    transform: str = "none"
    missing: FiniteFloat = 0.0
    mean: FiniteFloat = 0.0
    scale: FiniteFloat = 1.0


class MappingForm(_Form):
    """Which figure each feature is."""

    version: Literal[1]
    features: dict[str, FeatureForm] = Field(min_length=1)
    forbid: list[str] = []


class _Exported(_Form):
    feature_names_in_: list[str] = Field(min_length=1)


class CoefficientsForm(_Exported):
    """A linear model with one output."""

    coef_: list[FiniteFloat] | list[list[FiniteFloat]]
    intercept_: FiniteFloat | list[FiniteFloat]
    classes_: list[Any] | None = None


class TreeForm(_Form):
    """The arrays of a tree, each with an entry for every node."""

    children_left: list[int] = Field(min_length=1)
    children_right: list[int]
    feature: list[int]
    threshold: list[FiniteFloat]
    value: list[Any]


class TreesForm(_Exported):
    """Trees whose values are added up, or averaged, and a first value."""

    trees: list[TreeForm] = Field(min_length=1)
    average: bool = False
    learning_rate: FiniteFloat = 1.0
    init: FiniteFloat = 0.0
    link: Literal["identity", "logistic"] = "identity"


def load_mapping(file: Path) -> MappingForm:
    """Load which figure each feature is. Raises DefinitionError with every mistake but those in figures."""
    return _form(file, _read(file), MappingForm)


def imported(file: Path, mapping: Path, *, name: str, kind: Kind | None = None) -> dict[str, Any]:
    """Return the form of a model file from exported coefficients or trees.

    ``kind``: of coefficients; None: logistic if the file has ``classes_``, else linear. Raises
    DefinitionError, which names the file, the place and the reason. The figures are not checked.
    """
    raw, known = _read(file), load_mapping(mapping)
    exported: CoefficientsForm | TreesForm
    if isinstance(raw, dict) and "trees" in raw:
        exported = _form(file, raw, TreesForm)
        found = _of_trees(exported, str(file))
    else:
        exported = _form(file, raw, CoefficientsForm)
        found = _of_coefficients(exported, kind, str(file))
    names = exported.feature_names_in_
    if lacking := [each for each in names if each not in known.features]:
        raise _mistake(str(mapping), "features", f"missing: {', '.join(lacking)}, which {file} reads")
    listed = [{"name": each, **known.features[each].model_dump()} for each in names]
    forbid = {"forbid": known.forbid} if known.forbid else {}
    return {"name": name, **found, "features": listed, **forbid}


def _read(file: Path) -> Any:
    try:
        return parse(file)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DefinitionError([unreadable(file, error)]) from None


def _form(file: Path, raw: Any, form: type[_F]) -> _F:
    try:
        return form.model_validate(raw)
    except ValidationError as error:
        raise DefinitionError(form_issues(str(file), "", error)) from None


def _mistake(source: str, path: str, reason: str) -> DefinitionError:
    return DefinitionError([Issue(source, path, reason)])


def _of_coefficients(form: CoefficientsForm, kind: Kind | None, source: str) -> dict[str, Any]:
    names = form.feature_names_in_
    if form.classes_ is not None and len(form.classes_) != 2:
        raise _mistake(source, "classes_", f"expected 2 classes, got {len(form.classes_)}")
    rows: Any = form.coef_ if form.coef_ and isinstance(form.coef_[0], list) else [form.coef_]
    if len(rows) != 1:
        raise _mistake(source, "coef_", f"expected one output, got {len(rows)}")
    if len(rows[0]) != len(names):
        raise _mistake(source, "coef_", f"expected {len(names)} numbers, one per feature, got {len(rows[0])}")
    intercepts = form.intercept_ if isinstance(form.intercept_, list) else [form.intercept_]
    if len(intercepts) != 1:
        raise _mistake(source, "intercept_", f"expected one output, got {len(intercepts)}")
    parameters = {"intercept": intercepts[0], "weights": dict(zip(names, rows[0], strict=True))}
    return {"kind": kind or ("linear" if form.classes_ is None else "logistic"), "parameters": parameters}


def _of_trees(form: TreesForm, source: str) -> dict[str, Any]:
    """Return a sum of trees: the learning rate, or the share in an average, is in the values."""
    factor = form.learning_rate / (len(form.trees) if form.average else 1)
    size = len(form.feature_names_in_)
    trees = [_tree(each, f"trees[{at}]", source, size, factor) for at, each in enumerate(form.trees)]
    return {"kind": "trees", "parameters": {"intercept": form.init}, "trees": trees, "link": form.link}


def _tree(form: TreeForm, path: str, source: str, features: int, factor: float) -> dict[str, Any]:
    left, size = form.children_left, len(form.children_left)
    for key, found in form:
        if len(found) != size:
            raise _mistake(source, f"{path}.{key}", f"expected {size} entries, got {len(found)}")
    leaves = [each == _LEAF for each in left]
    for key, most in (("children_left", size), ("children_right", size), ("feature", features)):
        for at, (leaf, found) in enumerate(zip(leaves, getattr(form, key), strict=True)):
            if not leaf and not 0 <= found < most:
                reason = f"expected a number from 0 to {most - 1}, got {found}"
                raise _mistake(source, f"{path}.{key}[{at}]", reason)
    values = [_value(each, f"{path}.value[{at}]", source) * factor for at, each in enumerate(form.value)]
    return {
        "feature": _of_nodes(form.feature, leaves, _LEAF),
        "threshold": _of_nodes(form.threshold, leaves, 0.0),
        "left": left,
        "right": _of_nodes(form.children_right, leaves, _LEAF),
        "value": values,
    }


def _of_nodes(found: Sequence[Any], leaves: Sequence[bool], of_leaf: Any) -> list[Any]:
    return [of_leaf if leaf else each for leaf, each in zip(leaves, found, strict=True)]


def _value(written: Any, path: str, source: str) -> float:
    """Return a node's value: a number, or the share of the second of two classes."""
    found = written
    while isinstance(found, list) and len(found) == 1:
        found = found[0]
    numbers = found if isinstance(found, list) else [found]
    sound = all(isinstance(each, int | float) and abs(each) < float("inf") for each in numbers)
    if sound and len(numbers) == 1:
        return float(numbers[0])
    if sound and len(numbers) == 2 and min(numbers) >= 0 and sum(numbers) > 0:
        return float(numbers[1] / sum(numbers))
    raise _mistake(source, path, f"expected a number, or the weights of two classes, got {written!r:.60}")
