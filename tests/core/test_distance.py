"""The distance to a place: to the nearest point, with the age of the location, in words, and mistakes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from segops.core.errors import DefinitionError
from segops.core.geo import nearest_m
from segops.core.rules.blocks import names_of_areas
from segops.core.rules.reference.values import distance_m
from segops.core.rules.wording import label, threshold
from segops.core.segments import SegmentSet
from segops.core.survey import Survey
from segops.core.views.explain import explain
from segops.schemas.segments import definition_from_record, definition_to_record, inline
from segops.testing import Customer

from .helpers import MONDAY as T
from .helpers import H
from .strategies import streams
from .strategies_areas import distance_rules
from .test_equivalence import assert_agreement, make_definition

PLACES = {
    "stores": [{"lat": 48.8566, "lon": 2.3522}, {"lat": 45.764, "lon": 4.8357, "radius": "1km"}],
    "zone": {"south": 0, "west": 0, "north": 1, "east": 1},
    "other": {"lat": 0, "lon": 0},
}
NEAR = {"distance_to": "stores", "is": {"lte": "5km"}}


def read(form: dict[str, Any], **blocks: Any) -> Any:
    """Return the definition of a segment of a file with the places, and perhaps indicators."""
    return inline([{"key": "rule", "when": form}], "test", "segments", areas=PLACES, **blocks)[0]


@given(st.lists(distance_rules, min_size=1, max_size=2), streams(), st.booleans())
def test_distance_equals_the_reference(
    forms: list[dict[str, Any]], steps: list[tuple[str, Any]], watermark: bool
) -> None:
    note(str(forms))
    known = SegmentSet([make_definition(f"s{number}", form) for number, form in enumerate(forms)])
    assert_agreement(known, steps, watermark)


degrees = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


@given(degrees, st.lists(degrees, min_size=1, max_size=5))
def test_nearest_point_is_that_of_the_reference(at: tuple[float, float], points: list[Any]) -> None:
    assert abs(nearest_m(at, points) - min(distance_m(at, point) for point in points)) < 0.5


def test_explanation_has_the_metres_and_when_they_are_missing() -> None:
    customer = Customer(rule={**NEAR, "distance_to": {"lat": 48.8566, "lon": 2.3522}, "within": "1h"})
    customer.send("page", T, location=(48.86, 2.35))
    part = explain(customer.engine.segments, customer.profile, T).segments[0].rule
    assert (part.holds, part.value, part.threshold, part.changes_at) == (True, 410.896, "≤ 5000", T + H)
    customer.wait(T + H)
    part = explain(customer.engine.segments, customer.profile, T + H).segments[0].rule
    assert (part.holds, part.value, part.changes_at) == (False, None, None)


def test_words_name_the_place() -> None:
    node = read({**NEAR, "within": "1h"}).when
    assert (label(node), threshold(node)) == ("metres to stores within 1h ≤ 5000", "≤ 5000")
    inline_node = read({"distance_to": {"lat": 1, "lon": 2}, "is": {"between": ["1m", "1.5m"]}}).when
    assert label(inline_node) == "metres to 1, 2 from 1 to 1.5"


@pytest.mark.parametrize(
    "form",
    [
        NEAR,
        {"compare": [{"distance_to": {"places": "stores"}}, "lt", 10]},
        {"indicator": "far", "is": {"gte": "1km"}},
        {"not": {"compare": [{"indicator": "far"}, "lt", {"trait": "reach"}]}},
    ],
    ids=str,
)
def test_definition_carries_its_place(form: dict[str, Any]) -> None:
    """An edited place changes the meaning; other places do not, and a record needs none of them."""
    indicators = {"far": {"distance_to": "stores", "within": "1d"}}
    definition = read(form, indicators=indicators)
    assert names_of_areas(definition.when) == {"stores"}
    assert definition.areas == {"stores": PLACES["stores"]}
    stored = definition_from_record(definition_to_record(definition))
    assert stored is not None and stored.when == definition.when
    assert list(Survey([definition]).paths_never_met())[-1] == "no event has a context.location"


@pytest.mark.parametrize(
    ("form", "path", "reason"),
    [
        ({"distance_to": "moon", "is": {"lt": "1m"}}, "distance_to", "unknown place 'moon'"),
        ({"distance_to": {"places": "moon"}, "is": {"lt": "1m"}}, "distance_to.places", "unknown place"),
        ({"distance_to": "zone", "is": {"lt": "1m"}}, "distance_to", "zone is not only points and circles"),
        ({"distance_to": 5, "is": {"lt": "1m"}}, "distance_to", "expected a string, got 5"),
        ({"distance_to": {"lat": 91, "lon": 0}, "is": {"lt": "1m"}}, "distance_to.lat", "from -90 to 90"),
        ({"distance_to": {"near": "zone"}, "is": {"lt": "1m"}}, "distance_to", "a map with places"),
        ({"distance_to": "stores", "is": {"lt": 5}}, "is.lt", "expected a length above 0"),
        ({"distance_to": "stores", "is": {"eq": "5m"}}, "is.eq", "unknown key; expected one of lt, lte"),
        ({"distance_to": "stores", "is": {}}, "is", "expected a map with any of lt, lte, gt, gte, between"),
        ({"distance_to": "stores"}, "is", "expected a map with any of"),
        ({"distance_to": "stores", "is": {"between": ["5km", "1km"]}}, "is.between", "5km is above 1km"),
        ({"distance_to": "stores", "is": {"between": ["5km"]}}, "is.between", "expected two lengths"),
        ({"distance_to": "stores", "is": {"lt": "1m"}, "within": "0s"}, "within", "a duration above 0"),
        ({"distance_to": "stores", "is": {"lt": "1m"}, "since": "2026-01-01"}, "since", "unknown key"),
        ({"distance_to": "stores", "is": {"gte": "5km", "lt": "1km"}}, "is", "no distance satisfies"),
        (
            {"all": [NEAR, {"distance_to": "stores", "is": {"gt": "9km"}}]},
            "",
            "exclude each other",
        ),
    ],
    ids=str,
)
def test_mistake_is_reported_at_its_place(form: dict[str, Any], path: str, reason: str) -> None:
    with pytest.raises(DefinitionError) as found:
        read(form)
    (issue,) = found.value.issues
    assert issue.path.endswith(f"when.{path}".rstrip(".")) and reason in issue.reason
