"""Streams of events that concern given nodes: their names, values near thresholds, times near edges.

A stream drawn on its own rarely turns a rule true. All that a rule is about stands in what is written: each
name of an event in it, each path with the test of its value, each duration. A notation that is unknown here
is passed over, and such a rule gets the events of ``streams``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from hypothesis import strategies as st

from segops.core.errors import DefinitionError
from segops.core.events import Event
from segops.core.operators import Predicate
from segops.core.paths import event_path
from segops.core.rules.parsing import AGGREGATES, Reader
from segops.core.values import format_instant, kind, parse_duration, parse_instant
from segops.schemas.models import written

from .core.strategies import NAMES, ORDERS, purchases, scalars, streams
from .core.strategies_dates import births
from .core.strategies_figures import INDICATORS
from .core.strategies_scores import score_models

_DAY_MS = 86_400_000
_ATTEMPTS = 5
_LISTS = ("any", "all", "none", "count")
_ABOUT_ORDERS = frozenset(("rfm", "score", "score_percentile"))
#: Score -> the models of it that read figures, where their names differ.
_MODELS_OF = {"intent": ("convert_24h",)}


class ValueHint(NamedTuple):
    """A path, of a property or of a trait, and the test of its value; None if no test is known."""

    path: Any
    test: Any
    of_trait: bool = False

    def draw(self, draw: Any, at_ms: int) -> Any:
        """Draw a value near the threshold of the test, mostly one that satisfies it at ``at_ms``."""
        value = value_near(draw, self.test, at_ms)
        predicate = _predicate(self.test) if draw(st.integers(0, 3)) else None
        for _ in range(_ATTEMPTS):
            if predicate is None or predicate.holds(value, at_ms):
                break
            value = value_near(draw, self.test, at_ms)
        return value


def _predicate(test: Any) -> Predicate | None:
    try:
        return Reader(test if isinstance(test, dict) else {"eq": test}, "test").test()
    except DefinitionError:  # no predicate of one value, such as same_as
        return None


class Hints(NamedTuple):
    """What events must have to concern some rules."""

    names: list[str]
    values: list[ValueHint]
    lengths: list[int]


def hints_of(form: Any) -> Hints:
    """Collect what is written in rules.

    >>> hints_of({"did": ["A", "B"], "where": {"p": {"gt": 1}}, "within": "2s"})
    Hints(names=['A', 'B'], values=[ValueHint(path='p', test={'gt': 1}, of_trait=False)], lengths=[2000])
    """
    maps = [*maps_of(form), *maps_of(_figures_of_scores(form))]
    texts = [text for each in maps for text in _texts(list(each.values()))]
    names = [text for text in texts if text in (*NAMES, *ORDERS)]
    names += [ORDERS[0] for each in maps if _ABOUT_ORDERS & each.keys()]
    lengths = [length for text in texts if (length := _length(text))]
    return Hints(names, [hint for each in maps for hint in _values_of(each)], lengths)


def maps_of(form: Any) -> Iterator[dict[str, Any]]:
    """Yield each map in what is written, those of indicators as well."""
    if isinstance(form, list):
        for item in form:
            yield from maps_of(item)
    elif isinstance(form, dict):
        yield form
        yield from maps_of(list(form.values()))
        if form.get("indicator") in INDICATORS:
            yield from maps_of({**INDICATORS[form["indicator"]], "is": form.get("is")})


def _figures_of_scores(form: Any) -> list[Any]:
    """Return the figures that the models of the scores in a rule read: their names and windows move them."""
    models = score_models(form) if isinstance(form, dict) else {}
    found = {each for name in _scores_in(form) for each in _MODELS_OF.get(name, (name,)) if each in models}
    forms = [feature for name in sorted(found) for feature in written(models[name]).get("features", ())]
    return [each["figure"] for each in forms]


def _scores_in(form: Any) -> Iterator[str]:
    for each in maps_of(form):
        yield from (each[key] for key in ("score", "score_percentile") if isinstance(each.get(key), str))


def _texts(values: list[Any]) -> Iterator[str]:
    """Yield the texts of a map, not those of the maps in it."""
    for value in values:
        if isinstance(value, list):
            yield from _texts(value)
        elif isinstance(value, str):
            yield value


def _length(text: str) -> int | None:
    try:
        return parse_duration(text)
    except ValueError:
        return None


def _values_of(form: dict[str, Any]) -> Iterator[ValueHint]:
    if isinstance(form.get("where"), dict) and not form.keys() & set(_LISTS):
        yield from (ValueHint(path, test) for path, test in form["where"].items())
    tests = [form[key] for key in ("is", "from", "to") if key in form] or [None]
    if "trait" in form:
        yield from (ValueHint(form["trait"], test, of_trait=True) for test in tests)
    session = form.get("session")
    heads = session if isinstance(session, dict) else {key: form[key] for key in AGGREGATES if key in form}
    yield from (ValueHint(path, tests[0]) for path in heads.values())
    if "same" in form:
        yield ValueHint(form["same"], None)


# -- values ------------------------------------------------------------------------------------------------

_AROUND = st.sampled_from([0, 0, 0, 1, -1, 0.1])
_EDGE_MS = st.sampled_from([-1, 0, 1, 250, -250])


def _near_value(draw: Any, operand: Any, at_ms: int) -> Any:
    """Draw the operand, or one of several, or what is close to it."""
    if isinstance(operand, list):
        return _near_value(draw, draw(st.sampled_from(operand)), at_ms)
    if kind(operand) == "number":
        return operand + draw(_AROUND)
    instant = parse_instant(operand) if isinstance(operand, str) else None
    return operand if instant is None else format_instant(instant + draw(_EDGE_MS))


def _near_age(draw: Any, operand: Any, at_ms: int) -> str:
    """Draw an instant so long before or after the event, or between the two."""
    length = parse_duration(operand)
    return format_instant(at_ms + draw(st.sampled_from([-length, length, 0])) + draw(_EDGE_MS))


def _elements(draw: Any, operand: Any, at_ms: int) -> list[Any]:
    where = operand.get("where", operand)
    size = draw(st.integers(0, 3))
    return [
        {path: value_near(draw, test, at_ms) for path, test in where.items() if path in "ab"}
        for _ in range(size)
    ]


def _birth(draw: Any, operand: Any, at_ms: int) -> str:
    """Draw a day years ago, at the time of day of the event or soon after it."""
    later = format_instant(at_ms + draw(st.sampled_from([-500, 0, 1, 500, 2_000, 9_999])))
    return draw(
        st.one_of(births, st.sampled_from(["2000", "2007", "2024", later[:4]]).map(lambda y: y + later[4:]))
    )


#: Operator -> how a value near its operand is drawn, if not by ``_near_value``.
_DRAWN: dict[str, Callable[[Any, Any, int], Any]] = {
    **dict.fromkeys(("in_last", "in_next", "older_than", "newer_than"), _near_age),
    **dict.fromkeys(_LISTS, _elements),
    **dict.fromkeys(
        ("age_in_years", "anniversary_in_next", "weekday", "month"),
        _birth,
    ),
    "exists": lambda draw, operand, at_ms: 1 if operand else None,
    "includes": lambda draw, operand, at_ms: [operand, draw(scalars)],
    "contains": lambda draw, operand, at_ms: f"x{operand}y",
    "ends_with": lambda draw, operand, at_ms: f"x{operand}",
    "starts_with": lambda draw, operand, at_ms: f"{operand}x",
    "matches": lambda draw, operand, at_ms: operand.strip("^$"),
}
_CONVERTED: dict[Any, Callable[[Any], Any]] = {
    "epoch_s": lambda value: (parse_instant(str(value)) or 0) // 1_000 or value,
    "epoch_ms": lambda value: parse_instant(str(value)) or value,
    "number": str,
    "text": lambda value: value,
}


def value_near(draw: Any, test: Any, at_ms: int) -> Any:
    """Draw a value close to where the verdict of a test changes, for an event at ``at_ms``."""
    if test is None:
        return draw(st.sampled_from([0, 1, 1, 2, 20, "x"]))
    if not isinstance(test, dict):
        return _near_value(draw, test, at_ms)
    tests = [(name, operand) for name, operand in test.items() if name not in ("as", "zone", "same_as")]
    if not tests:
        return draw(scalars)
    name, operand = draw(st.sampled_from(tests))
    value = _DRAWN.get(name, _near_value)(draw, operand, at_ms)
    return _CONVERTED[test["as"]](value) if test.get("as") in _CONVERTED and value is not None else value


# -- events ------------------------------------------------------------------------------------------------


def _put(values: dict[str, Any], names: tuple[str, ...], value: Any, *, listed: bool) -> dict[str, Any]:
    """Return ``values`` with a value at a path; ``listed``: what contains it is the element of a list."""
    first, *rest = names
    if not rest:
        return {**values, first: value}
    inner = values.get(first)
    found = _put(inner if isinstance(inner, dict) else {}, tuple(rest), value, listed=listed)
    return {**values, first: [found] if listed and len(rest) == 1 else found}


def _put_hint(draw: Any, event: Event, hint: ValueHint) -> None:
    listed = draw(st.booleans())
    names = tuple(hint.path[1:]) if isinstance(hint.path, list) else event_path(hint.path)
    value = hint.draw(draw, event.time_ms)
    if names[0] == "":
        if names[1] == "context":
            event.context = _put(event.context or {}, names[2:], value, listed=False)
        return
    if hint.of_trait or (isinstance(hint.path, list) and hint.path[0] == "traits"):
        event.traits = _put(event.traits or {}, names, value, listed=False)
    else:
        event.properties = _put(event.properties, names, value, listed=listed)


def _concern(draw: Any, event: Event, hints: Hints, former: Event | None) -> None:
    """Change an event so that it concerns a node; often it has all that the former one has."""
    if former is not None and draw(st.integers(0, 4)) < 2:
        event.name, event.properties = former.name, former.properties
        event.traits, event.context = former.traits, former.context
        event.location = event.location or former.location
        return
    if hints.names:
        event.name = draw(st.sampled_from(hints.names))
        if event.name in ORDERS:
            event.properties = {**event.properties, **draw(purchases())}
    for hint in hints.values:
        if draw(st.integers(0, 5)):
            _put_hint(draw, event, hint)


def _gap(draw: Any, lengths: list[int]) -> int:
    """Draw a time that passes: often none, else a length of the rules, to the millisecond."""
    length = draw(st.sampled_from([0, 0, *lengths]))
    return max(0, length + draw(st.sampled_from([-1, 0, 0, 1]))) if length else 0


def steps_about(draw: Any, forms: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """Draw the steps of a stream whose events concern the nodes written as ``forms``."""
    hints = [hints_of(form) for form in forms]
    lengths = [length for each in hints for length in each.lengths]
    steps: list[tuple[str, Any]] = []
    former, later_ms = None, 0
    for what, arg in draw(streams()):
        later_ms += _gap(draw, lengths)
        if what == "event":
            arg.time_ms += later_ms
            if draw(st.integers(0, 5)):
                _concern(draw, arg, draw(st.sampled_from(hints)), former)
            former = arg
        steps.append((what, arg + later_ms if what == "clock" else arg))
    *steps, end = steps
    return steps + _ticks(draw, max(map(_time_of, steps), default=end[1]), lengths, end[1])


def _time_of(step: tuple[str, Any]) -> int:
    return int(step[1].time_ms if step[0] == "event" else step[1])


def _ticks(draw: Any, at_ms: int, lengths: list[int], end_ms: int) -> list[tuple[str, int]]:
    """Draw the last steps of a stream: instants from ``at_ms`` on, to let time alone change the verdicts."""
    ticks = []
    for _ in range(draw(st.integers(0, 3))):
        at_ms += _gap(draw, [*lengths, _DAY_MS, 7 * _DAY_MS, 31 * _DAY_MS])
        ticks.append(("clock", at_ms))
    return [*ticks, ("clock", max(at_ms, end_ms))]
