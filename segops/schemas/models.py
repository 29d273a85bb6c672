"""Model files: JSON, to and from validated models."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from math import isfinite
from types import MappingProxyType
from typing import Any, Final

import msgspec

from segops.core.errors import DefinitionError, Issue
from segops.core.rules.figures import ClockFigure
from segops.core.rules.parsing import SCORE_PATTERN, Context, Reader, Reads, read_input_figure
from segops.core.scoring import models
from segops.core.scoring.buying import Buying
from segops.core.scoring.figure_scores import WAVES
from segops.core.scoring.models import (
    BUYING,
    POPULATION,
    READY,
    SPENDING,
    STATUSES,
    Model,
    Parameters,
)
from segops.core.scoring.spending import Spending
from segops.core.values import kind
from segops.schemas.forbidden import forbidden_reads
from segops.schemas.own_models import PYTHON, read_own, with_figures
from segops.schemas.populations import POPULATION_PATTERN, read_population

NO_MODELS: Final[Mapping[str, Model]] = MappingProxyType({})
MAX_FEATURES: Final = 1_000
MAX_TREES: Final = 1_000
MAX_TREE_NODES: Final = 4_096
MAX_POINTS: Final = 10_000
TRANSFORMS: Final = ("none", "log1p", "present", "days_log1p", *WAVES)
LINKS: Final = ("identity", "logistic")
#: The keys of a model file, in the order in which ``written`` has them.
_ORDER: Final = (
    *("name", "kind", "version", "fitted_at", "valid_until", "status", "reasons", "trained_on", "forbid"),
    *("scorer", "features", "parameters", "calibration", "trees", "link", "currency", "quality"),
)
#: The greatest number of either sign that a file may hold: sums of products stay finite.
_GREATEST: Final = 1e100


def read_model(raw: Any, source: str, path: str = "") -> Model:
    """Read a model file, or a model below ``path`` of another file. ``source`` names the file in errors.

    Raises DefinitionError with every mistake: its file, path and reason.

    >>> parameters = {"p": 6.25, "q": 3.74, "gamma": 15.44}
    >>> raw = {"name": "spending", "kind": "gamma-gamma", "version": 2, "fitted_at": "2026-11-27T08:00:00Z"}
    >>> model = read_model({**raw, "parameters": parameters}, "spending.json")
    >>> model.version, model.is_ready, model.scores[0]
    (2, True, 'average_order_value_expected')
    """
    raw, context = with_figures(raw), Context(source)
    context.begin(path)
    form = Reader(raw, path, context)
    if not isinstance(raw, dict):
        _fail(form, f"expected a map, got {raw!r:.40}")
    name, of_kind = form.gather(partial(_name, _at(form, "name")), partial(_kind, _at(form, "kind")))
    found = form.gather(
        partial(form_only, form, of_kind),
        partial(_check_slot, form, name, of_kind),
        *(partial(read, _at(form, key)) for key, read in _FIELDS.items() if key in raw or key in _NEEDED),
        partial(_parameters, form, of_kind),
    )
    fields = dict(zip((key for key in _FIELDS if key in raw or key in _NEEDED), found[2:-1], strict=True))
    model = Model(
        name, of_kind, found[-1], **{_FIELD_NAMES.get(key, key): each for key, each in fields.items()}
    )
    form.gather(partial(_check_status, form, model), partial(_check_forbidden, form, model))
    return msgspec.structs.replace(model, written=raw)


def written(model: Model) -> dict[str, Any]:
    """Return the file form of a model, with its version and its keys in order; ``read_model`` reads it."""
    form = {**model.written, "version": model.version}
    return {key: form[key] for key in _ORDER if key in form}


def read_models(raw: Any, source: str, path: str = "models") -> dict[str, Model]:
    """Read the block ``models`` of a definition: model forms by name. Raises DefinitionError."""
    if not isinstance(raw, dict) or not raw:
        raise DefinitionError([Issue(source, path, f"expected a map of names to models, got {raw!r:.40}")])
    found = {name: read_model(form, source, f"{path}.{name}") for name, form in raw.items()}
    wrong = [name for name, model in found.items() if name != model.name]
    if wrong:
        reasons = (Issue(source, f"{path}.{name}.name", f"expected {name!r}") for name in wrong)
        raise DefinitionError(list(reasons))
    return found


def _at(form: Reader, key: str) -> Reader:
    """Return the reader of a key, whose path has no leading dot at the top of a file."""
    return Reader(form.raw.get(key), f"{form.path}.{key}".lstrip("."), form.context)


def _fail(form: Reader, reason: str) -> None:
    Reader(form.raw, form.path or "-", form.context).fail(reason)


def form_only(form: Reader, of_kind: str) -> None:
    """Raise DefinitionError for each key that a model of this kind does not have."""
    allowed = {*_FIELDS, "name", "kind", "parameters", *KINDS[of_kind].keys}
    unknown = [key for key in form.raw if key not in allowed]
    if unknown:
        reason = f"unknown key for a model of kind {of_kind}"
        raise DefinitionError(
            [Issue(form.context.source, f"{form.path}.{key}".lstrip("."), reason) for key in unknown]
        )


class Kind(msgspec.Struct, frozen=True):
    """A kind of model: the reader of its parameters, its keys beside those of all models, and its slot."""

    read: Callable[[Reader], Parameters]
    keys: tuple[str, ...] = ()
    #: The only names that a model of this kind may have; None: any but those of other kinds.
    names: tuple[str, ...] | None = None
    pattern: str = SCORE_PATTERN
    naming: str = "a name of at most 64 lower-case letters, digits, hyphens and underscores"


def _name(form: Reader) -> str:
    if not isinstance(form.raw, str) or not form.raw:
        form.fail(f"expected a name, got {form.raw!r:.40}")
    return str(form.raw)


def _kind(form: Reader) -> str:
    if not isinstance(form.raw, str) or form.raw not in KINDS:
        form.fail(f"unknown kind {form.raw!r:.40}; expected one of {', '.join(KINDS)}")
    return str(form.raw)


def _check_slot(form: Reader, name: str, of_kind: str) -> None:
    names, at = KINDS[of_kind].names, _at(form, "name")
    if names is not None and name not in names:
        at.fail(f"a model of kind {of_kind} is named {' or '.join(names)}, got {name!r:.70}")
    taken = [each for each, other in KINDS.items() if other.names and name in other.names]
    if names is None and taken:
        at.fail(f"the model {name!r} is of kind {' or '.join(taken)}, got {of_kind}")
    if of_kind not in _KINDS_OF.get(name, (of_kind,)):
        at.fail(f"the model {name!r} is of kind {' or '.join(_KINDS_OF[name])}, got {of_kind}")
    if names is None and name in _DERIVED:
        at.fail(f"{name!r} is a score of other models: choose another name")
    if not _matches(KINDS[of_kind].pattern, name):
        at.fail(f"expected {KINDS[of_kind].naming}, got {name!r:.70}")


def _matches(pattern: str, name: str) -> bool:
    return re.fullmatch(pattern, name) is not None


#: Slots of which only some kinds are probabilities.
_KINDS_OF: Final = {
    **dict.fromkeys(("convert_24h", "convert_7d"), ("logistic",)),
    "rfm": (POPULATION,),
}
#: Names of scores that other models give.
_DERIVED: Final = {"recency_days", models.INTENT, *models.ORDER_SCORES}


def _version(form: Reader) -> int:
    return form.integer(0)


def _status(form: Reader) -> str:
    return form.one_of(STATUSES)


def _texts(form: Reader) -> tuple[str, ...]:
    if not isinstance(form.raw, list) or not all(isinstance(text, str) and text for text in form.raw):
        form.fail(f"expected a list of texts, got {form.raw!r:.40}")
    return tuple(form.raw)


def _measured(form: Reader) -> dict[str, Any]:
    if not isinstance(form.raw, dict):
        form.fail(f"expected a map, got {form.raw!r:.40}")
    _check_finite(form.raw, form)
    return dict(form.raw)


def _check_finite(value: Any, form: Reader) -> None:
    if isinstance(value, float) and not isfinite(value):
        form.fail(f"expected finite numbers, got {value}")
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_finite(each, form)


#: Key of every model -> its reader.
_FIELDS: Final[dict[str, Callable[[Reader], Any]]] = {
    "version": _version,
    "fitted_at": Reader.instant,
    "valid_until": Reader.instant,
    "status": _status,
    "reasons": _texts,
    "trained_on": _measured,
    "forbid": _texts,
    "quality": _measured,
}
_NEEDED: Final = ("fitted_at",)
_FIELD_NAMES: Final = {"fitted_at": "fitted_at_ms", "valid_until": "valid_until_ms"}


def _check_status(form: Reader, model: Model) -> None:
    if model.status == READY and model.parameters is None:
        _at(form, "parameters").fail("missing key: a model that is ready has parameters")
    if model.status != READY and not model.reasons:
        _at(form, "reasons").fail(f"missing key: say why the model is {model.status}")


def _check_forbidden(form: Reader, model: Model) -> None:
    for place, what, name, forbidden in forbidden_reads(model):
        _at(form, place).fail(f"the {what} reads {name}, which forbid names ({forbidden})")


# -- numbers -----------------------------------------------------------------------------------------------


def _number(
    form: Reader, low: float = -_GREATEST, high: float = _GREATEST, expected: str = "a number"
) -> float:
    if kind(form.raw) != "number" or not low <= form.raw <= high:
        form.fail(f"expected {expected}, got {form.raw!r:.40}")
    return float(form.raw)


def _above(form: Reader, low: float = 0.0) -> float:
    found = _number(form, expected=f"a number above {low:g}")
    if not found > low:
        form.fail(f"expected a number above {low:g}, got {form.raw!r:.40}")
    return found


def _parameters(form: Reader, of_kind: str) -> Parameters | None:
    if "parameters" not in form.raw and form.raw.get("status", READY) != READY:
        return None
    return KINDS[of_kind].read(form)


def _map(form: Reader, reads: Reads, optional: Reads) -> list[Any]:
    return form.record(reads, "{" + ", ".join(f"{key}: 1.0" for key in reads) + "}", optional)


# -- kinds -------------------------------------------------------------------------------------------------


def _buying(form: Reader, *, modified: bool) -> models.BuyingParameters:
    gaps: Reads = {"gap_shape": partial(_above, low=1.0), "gap_scale": _above}
    r, alpha, a, b, shape, scale = _map(
        _at(form, "parameters"), dict.fromkeys(("r", "alpha", "a", "b"), _above), gaps
    )
    if (shape is None) != (scale is None):
        _at(form, "parameters").fail("expected gap_shape and gap_scale together, or neither")
    buying = Buying(r, alpha, a, b, modified)
    return models.BuyingParameters(buying, None if shape is None else models.Gaps(shape, scale))


def _spending(form: Reader) -> models.SpendingParameters:
    reads: Reads = {"p": _above, "q": partial(_above, low=1.0), "gamma": _above}
    optional: Reads = {"discount": partial(_number, low=0.0, high=10.0, expected="a number from 0 to 10")}
    *values, discount = _map(_at(form, "parameters"), reads, optional)
    currency = _at(form, "currency").text() if "currency" in form.raw else None
    return models.SpendingParameters(Spending(*values), 0.1 if discount is None else discount, currency)


def _inputs(form: Reader) -> tuple[models.Input, ...]:
    features = _at(form, "features").items(f"a list of 1 to {MAX_FEATURES:,} features", MAX_FEATURES)
    found = form.gather(*(partial(_input, each) for each in features))
    for at, each in enumerate(found):
        if each.name in {other.name for other in found[:at]}:
            features[at].at("name").fail(f"duplicate feature {each.name!r}")
    return tuple(found)


def _input(form: Reader) -> models.Input:
    reads: Reads = {"name": Reader.text, "figure": read_input_figure}
    optional: Reads = {
        "transform": lambda each: each.one_of(TRANSFORMS),
        "missing": _number,
        "mean": _number,
        "scale": _above,
    }
    name, figure, *rest = form.record(reads, "{name: views_24h, figure: {did: View, within: 24h}}", optional)
    given = {key: each for key, each in zip(optional, rest, strict=True) if each is not None}
    if given.get("transform") in WAVES and not isinstance(figure, ClockFigure):
        form.at("transform").fail(f"expected a figure {{clock: hour}} for the transform {given['transform']}")
    return models.Input(name, figure, **given)


def _weighted(form: Reader, *, logistic: bool) -> models.WeightedParameters:
    inputs = _inputs(form)
    at = _at(form, "parameters")
    intercept, weights = _map(at, {"intercept": _number, "weights": _weights}, {})
    names = [each.name for each in inputs]
    for name in weights:
        if name not in names:
            at.at("weights").at(name).fail(f"unknown feature {name!r}; expected one of {', '.join(names)}")
    for name in names:
        if name not in weights:
            at.at("weights").fail(f"missing weight of the feature {name!r}")
    calibration = _calibration(_at(form, "calibration")) if logistic else None
    return models.WeightedParameters(inputs, tuple(weights[name] for name in names), intercept, calibration)


def _weights(form: Reader) -> dict[str, float]:
    if not isinstance(form.raw, dict) or not form.raw:
        form.fail(f"expected a map of features to weights, got {form.raw!r:.40}")
    found = form.gather(*(partial(_number, form.at(name)) for name in form.raw))
    return dict(zip(form.raw, found, strict=True))


def _calibration(form: Reader) -> models.Platt | models.Isotonic:
    if form.raw is None:
        return models.Platt()
    if not isinstance(form.raw, dict) or form.raw.get("kind") not in ("platt", "isotonic"):
        form.fail("expected a calibration, such as {kind: platt, a: 1.0, b: 0.0}")
    if form.raw["kind"] == "platt":
        form.only("kind", "a", "b")
        return models.Platt(*form.gather(partial(_above, form.at("a")), partial(_number, form.at("b"))))
    form.only("kind", "points")
    return models.Isotonic(_points(form.at("points")))


def _points(form: Reader) -> tuple[tuple[float, float], ...]:
    found = []
    for each in form.items(f"a list of 1 to {MAX_POINTS:,} points [x, y]", MAX_POINTS):
        if not isinstance(each.raw, list) or len(each.raw) != 2:
            each.fail(f"expected two numbers from 0 to 1, got {each.raw!r:.40}")
        pair = [_number(each.with_raw(part), 0.0, 1.0, "two numbers from 0 to 1") for part in each.raw]
        found.append((pair[0], pair[1]))
    if any(a[0] >= b[0] or a[1] > b[1] for a, b in pairwise(found)):
        form.fail("expected points with rising x, and y that does not fall")
    return tuple(found)


def _trees(form: Reader) -> models.TreesParameters:
    inputs = _inputs(form)
    trees = _at(form, "trees").items(f"a list of 1 to {MAX_TREES:,} trees", MAX_TREES)
    link = _at(form, "link").one_of(LINKS) if "link" in form.raw else LINKS[0]
    at = _at(form, "parameters")
    intercept = _map(at, {"intercept": _number}, {})[0] if at.raw else 0.0
    found = form.gather(*(partial(_tree, each, len(inputs)) for each in trees))
    return models.TreesParameters(inputs, tuple(found), intercept, link == "logistic")


def _tree(form: Reader, inputs: int) -> models.Tree:
    index, number = partial(_whole_numbers, most=inputs - 1), _numbers
    nodes = partial(_whole_numbers, most=MAX_TREE_NODES - 1)
    reads: Reads = {"feature": index, "threshold": number, "left": nodes, "right": nodes, "value": number}
    tree = models.Tree(*form.record(reads, "{feature: [0, -1, -1], threshold: [5, 0, 0], left: …}"))
    size = len(tree.tested)
    lists = {"threshold": tree.threshold, "left": tree.left, "right": tree.right, "value": tree.leaves}
    for key, found in lists.items():
        if len(found) != size:
            form.at(key).fail(f"expected {size} values, one for each node, got {len(found)}")
    for at in range(size):
        children = (tree.left[at], tree.right[at])
        if tree.tested[at] >= 0 and not all(at < child < size for child in children):
            form.fail(f"node {at}: expected children after it, up to {size - 1}, got {children}")
    return tree


def _numbers(form: Reader) -> tuple[float, ...]:
    return tuple(_number(each) for each in form.items("a non-empty list of numbers", MAX_TREE_NODES))


def _whole_numbers(form: Reader, most: int) -> tuple[int, ...]:
    items = form.items(f"a list of 1 to {MAX_TREE_NODES:,} whole numbers", MAX_TREE_NODES)
    for each in items:
        if type(each.raw) is not int or not -2 <= each.raw <= most:
            each.fail(f"expected a whole number up to {most}, or -1 in a leaf, got {each.raw!r:.40}")
    return tuple(max(each.raw, -1) for each in items)


_WITH_INPUTS: Final = ("features",)
_POPULATIONS: Final = "rfm, rfm.NAME, percentile.NAME or affinity.PROPERTY"
#: Kind of a model -> how to read it.
KINDS: Final[Mapping[str, Kind]] = {
    "bg-nbd": Kind(partial(_buying, modified=False), names=(BUYING,)),
    "mbg-nbd": Kind(partial(_buying, modified=True), names=(BUYING,)),
    "gamma-gamma": Kind(_spending, ("currency",), names=(SPENDING,)),
    "logistic": Kind(partial(_weighted, logistic=True), (*_WITH_INPUTS, "calibration")),
    "linear": Kind(partial(_weighted, logistic=False), _WITH_INPUTS),
    "trees": Kind(_trees, (*_WITH_INPUTS, "trees", "link")),
    PYTHON: Kind(read_own, ("scorer", *_WITH_INPUTS)),
    POPULATION: Kind(read_population, pattern=POPULATION_PATTERN, naming=_POPULATIONS),
}
