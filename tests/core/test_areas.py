"""places, inside, and near by name: areas to the billionth of a degree, and their definitions."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from segops.core.areas import Area, Box, Polygon, contains_any, crossing
from segops.core.engine import Engine
from segops.core.errors import DefinitionError
from segops.core.rules.parsing import Context, read_areas, read_rule
from segops.core.rules.reference.areas import contains
from segops.core.segments import Definition, SegmentSet
from segops.core.views.explain import explain
from segops.schemas.segments import definition_from_record, definition_to_record, inline, load
from segops.testing import Customer, Flip
from tests.rest import rest

from .helpers import MONDAY as T
from .helpers import H

BILLION = 10**9
SQUARE = {"polygon": [[0, 0], [0, 2], [2, 2], [2, 0]]}


def areas_of(form: Any) -> tuple[Area, ...]:
    return read_areas({"a": form}, "places", Context())["a"]


def customer(tmp_path: Path, when: dict[str, Any], **named: Any) -> Customer:
    path = tmp_path / "segments.json"
    path.write_text(json.dumps({"version": 1, "places": named, "segments": [{"key": "s", "when": when}]}))
    return Customer.from_files(path)


@pytest.mark.parametrize(
    ("form", "location", "expected"),
    [
        (SQUARE, (1, 1), True),
        (SQUARE, (0, 0), True),
        (SQUARE, (2, 1), True),
        (SQUARE, (1, 2), True),
        (SQUARE, (1, 2.000000001), False),
        (SQUARE, (1, 2.0000000004), True),
        (SQUARE, (-0.000000001, 1), False),
        ({"polygon": [[0, 0], [3, 0], [3, 3], [1.5, 1], [0, 3]]}, (1.5, 1), True),
        ({"polygon": [[0, 0], [3, 0], [3, 3], [1.5, 1], [0, 3]]}, (1.5, 1.000001), False),
        ({"polygon": [[0, 0], [3, 0], [3, 3], [1.5, 1], [0, 3]]}, (2.9, 2.8), True),
        ({"polygon": [[0, 0], [1, 0.3], [3, 0.9], [3, 0]]}, (1, 0.3), True),
        ({"south": 0, "west": 0, "north": 2, "east": 2}, (2, 2), True),
        ({"south": 0, "west": 0, "north": 2, "east": 2}, (2.000000001, 2), False),
        ({"south": 0, "west": 170, "north": 2, "east": -170}, (1, 180), True),
        ({"south": 0, "west": 170, "north": 2, "east": -170}, (1, -180), True),
        ({"south": 0, "west": 170, "north": 2, "east": -170}, (1, 0), False),
        ({"south": 80, "west": 0, "north": 90, "east": 10}, (90, 5), True),
        ({"south": 80, "west": 0, "north": 90, "east": 10}, (90, 50), False),
        ({"lat": 90, "lon": 0, "radius": "100km"}, (89.5, 123), True),
        ({"lat": 0, "lon": 179.99, "radius": "3km"}, (0, -179.99), True),
        ({"lat": 0, "lon": 179.99, "radius": "2km"}, (0, -179.99), False),
        ([{"lat": 0, "lon": 0, "radius": "1km"}, SQUARE], (1, 1), True),
        ({"lat": 0, "lon": 0}, (0, 0), False),
    ],
)
def test_area_contains_its_edge(form: Any, location: tuple[float, float], expected: bool) -> None:
    areas = areas_of(form)
    assert contains_any(areas, location) is expected
    assert any(contains(area, location) for area in areas) is expected


_coordinate = st.integers(-4, 4)
_corner = st.tuples(_coordinate, _coordinate)
_line = st.lists(_corner, min_size=3, max_size=7, unique=True)


@given(_line, st.lists(st.tuples(_coordinate, _coordinate), min_size=3, max_size=20))
def test_both_sides_agree_on_polygons_and_boxes(
    line: list[tuple[int, int]], halves: list[tuple[int, int]]
) -> None:
    points = tuple((lat * BILLION, lon * BILLION) for lat, lon in line)
    assume(crossing(points) is None)
    box = Box((min(points)[0], points[0][1]), (max(points)[0], points[1][1]))
    for lat, lon in halves:
        location = (lat / 2, lon / 2)
        for area in (Polygon(points), box) if points[0][1] != points[1][1] else (Polygon(points),):
            assert contains_any([area], location) is contains(area, location), (area, location)


def _strictly_meet(a: Any, b: Any, c: Any, d: Any) -> bool:
    """Whether two edges without a common corner meet, by solving for both shares."""
    det = (b[0] - a[0]) * (d[1] - c[1]) - (b[1] - a[1]) * (d[0] - c[0])
    if det == 0:
        return False
    s = Fraction((c[0] - a[0]) * (d[1] - c[1]) - (c[1] - a[1]) * (d[0] - c[0]), det)
    t = Fraction((c[0] - a[0]) * (b[1] - a[1]) - (c[1] - a[1]) * (b[0] - a[0]), det)
    return 0 <= s <= 1 and 0 <= t <= 1


@given(_line)
def test_line_that_is_accepted_crosses_itself_nowhere(line: list[tuple[int, int]]) -> None:
    assume(crossing(line) is None)
    sides = [(line[at], line[(at + 1) % len(line)]) for at in range(len(line))]
    for number, one in enumerate(sides):
        for other in sides[number + 1 :]:
            assert {*one} & {*other} or not _strictly_meet(*one, *other)


def test_location_enters_leaves_and_grows_stale(tmp_path: Path) -> None:
    someone = customer(tmp_path, {"inside": "zone", "within": "1h"}, zone=SQUARE)
    assert someone.did("page", T, location=(1.0, 1.0)) == [Flip("entered", "s", T)]
    assert someone.did("page", T + 1, location=(3.0, 1.0)) == [Flip("exited", "s", T + 1)]
    assert someone.did("page", T + 2, location=(2.0, 2.0)) == [Flip("entered", "s", T + 2)]
    assert someone.did("page", T + 1, location=(3.0, 1.0)) == []
    assert someone.wait(T + 2 + H - 1) == []
    assert someone.wait(T + 2 + H) == [Flip("exited", "s", T + 2 + H)]


def test_any_location_of_the_window_counts_whatever_came_later(tmp_path: Path) -> None:
    someone = customer(tmp_path, {"inside": "zone", "anytime": True, "within": "1h"}, zone=SQUARE)
    assert someone.did("page", T, location=(1.0, 1.0)) == [Flip("entered", "s", T)]
    assert someone.did("page", T + 1, location=(3.0, 1.0)) == []
    assert someone.did("page", T - 1, location=(1.0, 1.0)) == []
    assert someone.wait(T + H - 1) == []
    assert someone.wait(T + H) == [Flip("exited", "s", T + H)]


def test_late_location_of_the_window_counts(tmp_path: Path) -> None:
    someone = customer(tmp_path, {"inside": "zone", "anytime": True, "within": "1h"}, zone=SQUARE)
    someone.did("page", T, location=(3.0, 1.0))
    assert someone.did("page", T - H, location=(1.0, 1.0)) == []
    assert someone.did("page", T + 1 - H, location=(1.0, 1.0)) == [Flip("entered", "s", T)]
    assert someone.wait(T + 1) == [Flip("exited", "s", T + 1)]


def test_event_without_a_location_in_the_place_is_not_kept(tmp_path: Path) -> None:
    someone = customer(tmp_path, {"inside": "zone", "anytime": True}, zone=SQUARE)
    someone.send("page", T)
    someone.send("page", T, location=(3.0, 1.0))
    assert someone.profile.features == {}
    assert someone.did("page", T, location=(1.0, 1.0)) == [Flip("entered", "s", T)]


def test_visits_of_one_place_and_window_share_a_feature_and_those_of_others_do_not() -> None:
    wide = {"lat": 0, "lon": 0, "radius": "2km"}
    forms: list[dict[str, Any]] = [
        {"inside": "a", "anytime": True},
        {"near": wide, "anytime": True},
        {"near": "a", "anytime": True},
    ]
    found = inline(
        [{"key": f"s{n}", "when": form} for n, form in enumerate(forms)],
        "f",
        "segments",
        areas={"a": {"lat": 0, "lon": 0, "radius": "1km"}},
    )
    assert len(SegmentSet(found).features) == 2


def test_near_reads_named_circles_and_points(tmp_path: Path) -> None:
    stores = [{"lat": 0, "lon": 0}, {"lat": 10, "lon": 10, "radius": "1km"}]
    around = customer(tmp_path, {"near": {"places": "stores", "radius": "200km"}}, stores=stores)
    assert around.did("page", T, location=(11.0, 11.0)) == [Flip("entered", "s", T)]
    circle = customer(tmp_path, {"near": "home"}, home={"lat": 10, "lon": 10, "radius": "1km"})
    assert circle.did("page", T, location=(11.0, 11.0)) == []
    assert circle.did("page", T, location=(10.0, 10.0)) == [Flip("entered", "s", T)]


def refused(when: dict[str, Any], named: Any) -> list[str]:
    with pytest.raises(DefinitionError) as found:
        inline([{"key": "s", "when": when}], "f", "segments", areas=named)
    return [str(issue) for issue in found.value.issues]


INSIDE = {"inside": "a"}


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"polygon": [[0, 0], [1, 1]]}, "places.a.polygon: expected a list of 3 to 1,000 points"),
        ({"polygon": [[0, 0], [1, 1], [0, 0]]}, "places.a.polygon: expected a list of 3 to 1,000 points"),
        ({"polygon": [[0, 0]] * 1_002}, "places.a.polygon: expected a list of 3 to 1,000 points"),
        (
            {"polygon": [[0, 0], [0, 0], [1, 1], [1, 0]]},
            "places.a.polygon: the same point twice in a row, at 1",
        ),
        (
            {"polygon": [[0, 0], [2, 2], [2, 0], [0, 2]]},
            "places.a.polygon: crosses itself: the edges from points 0",
        ),
        ({"polygon": [[0, 0], [0, 2], [0, 1]]}, "places.a.polygon: crosses itself"),
        ({"polygon": [[0, 0], [0, 4], [2, 4], [0, 2], [2, 0]]}, "places.a.polygon: crosses itself"),
        ({"polygon": [[0, 170], [0, -170], [1, 170]]}, "places.a.polygon: crosses the antimeridian"),
        (
            {"polygon": [[0, 0], [91, 0], [1, 1]]},
            "places.a.polygon[1]: expected degrees from -90 to 90, got 91",
        ),
        ({"polygon": [[0, 0], [1], [1, 1]]}, "places.a.polygon[1]: expected [lat, lon] in degrees, got [1]"),
        ({"polygon": [[0, 0], [1, 0], [1, 1]], "radius": "1km"}, "places.a.radius: unknown key"),
        ({"south": 1, "west": 0, "north": 1, "east": 1}, "places.a: expected south below north, got 1 and 1"),
        ({"south": 0, "west": 1, "north": 1, "east": 1}, "places.a: expected west to differ from east"),
        ({"south": 0, "west": 1}, "places.a: expected a map with south, west, north and east"),
        ({"lat": 0, "lon": 0, "radius": "0m"}, "places.a.radius: expected a length above 0"),
        ({"latitude": 0}, "places.a: expected a place, such as"),
        ([], "places.a: expected a list of 1 to 1,000 places"),
        ([{"lat": 0}], "places.a[0]: expected a map with lat and lon"),
    ],
)
def test_invalid_place_is_refused_once_with_the_reason(form: Any, message: str) -> None:
    found = refused({"all": [INSIDE, {"near": "a"}]}, {"a": form})
    assert len(found) == 1 and found[0].startswith(f"f: {message}"), found


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ({"inside": "b"}, "segments[0].when.inside: unknown place 'b'; expected one of a"),
        ({"near": "b"}, "segments[0].when.near: unknown place 'b'"),
        ({"near": {"places": "b", "radius": "1km"}}, "segments[0].when.near.places: unknown place 'b'"),
        ({"near": {"places": "a"}}, "segments[0].when.near: expected a map with places and radius"),
        ({"near": "a"}, "segments[0].when.near: a is not only points and circles; use inside: a"),
        ({"inside": "a", "since": "2026-01-01"}, "segments[0].when.since: unknown key"),
        ({"inside": "a", "anytime": False, "since": "2026-01-01"}, "segments[0].when.since: unknown key"),
        ({"inside": "a", "anytime": "yes"}, "segments[0].when.anytime: expected true or false, got 'yes'"),
        (
            {"inside": "a", "anytime": True, "within": "0d"},
            "segments[0].when.within: expected a duration above 0",
        ),
    ],
)
def test_invalid_use_of_a_place_is_refused_with_the_reason(when: dict[str, Any], message: str) -> None:
    found = refused(when, {"a": SQUARE})
    assert any(issue.startswith(f"f: {message}") for issue in found), found


def test_points_without_a_radius_are_refused_where_they_contain_nothing() -> None:
    assert "which contain nothing" in refused(INSIDE, {"a": {"lat": 0, "lon": 0}})[0]
    assert "without a radius" in refused({"near": "a"}, {"a": {"lat": 0, "lon": 0}})[0]


@rest
def test_many_corners_of_one_file_are_refused() -> None:
    wave = [[lat / 10, 0] for lat in range(900)] + [[lat / 10, 1] for lat in reversed(range(100))]
    assert len(areas_of([{"polygon": wave}] * 10)) == 10
    for several in (
        {"a": [{"polygon": wave}] * 11},
        {f"a{n}": [{"lat": 0, "lon": 0}] * 1_000 for n in range(11)},
    ):
        assert "places: expected at most 10,000 places and 10,000 points" in refused(INSIDE, several)[0]


def test_file_without_places_names_none() -> None:
    with pytest.raises(DefinitionError, match="unknown place 'zone'; expected one of \\(none"):
        read_rule({"inside": "zone"}, "when", Context())


def read(named: dict[str, Any], when: dict[str, Any] = INSIDE) -> Definition:
    (found,) = inline([{"key": "s", "when": when}], "f", "segments", areas=named)
    return found


def test_definition_carries_the_places_that_it_reads() -> None:
    found = read({"a": SQUARE, "b": {"lat": 0, "lon": 0}})
    assert found.areas == {"a": SQUARE}
    again = definition_from_record(definition_to_record(found))
    assert again is not None and (again.when, again.areas) == (found.when, found.areas)
    assert read({"b": {"lat": 0, "lon": 0}}, {"did": "A"}).areas is None


def test_change_of_a_place_changes_what_the_rule_means() -> None:
    wider = {"polygon": [[0, 0], [0, 3], [3, 3], [3, 0]]}
    assert read({"a": SQUARE}).identity == read({"a": SQUARE, "b": wider}).identity
    assert read({"a": SQUARE}).identity != read({"a": wider}).identity


def test_record_with_an_invalid_place_is_refused() -> None:
    record = json.loads(definition_to_record(read({"a": SQUARE})))
    for odd in ({"a": {}}, [], {"b": SQUARE}):
        with pytest.raises(DefinitionError, match="place"):
            definition_from_record(json.dumps({**record, "places": odd}).encode())


def test_files_keep_their_own_places(tmp_path: Path) -> None:
    for name, form in (("one", SQUARE), ("two", {"lat": 5, "lon": 5, "radius": "1km"})):
        segment = {"key": name, "when": INSIDE}
        content = {"version": 1, "places": {"a": form}, "segments": [segment]}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    assert {each.key: each.areas["a"] for each in load([tmp_path])} == {
        "one": SQUARE,
        "two": {"lat": 5, "lon": 5, "radius": "1km"},
    }


def test_explanation_names_the_place_and_the_location() -> None:
    segments = SegmentSet([read({"a": SQUARE}, {"inside": "a", "within": "1h"})])
    someone = Customer()
    someone.engine = Engine(segments)
    someone.did("page", T, location=(1.0, 1.5))
    node = explain(segments, someone.profile, T).segments[0].rule
    assert (node.label, node.value, node.threshold) == ("inside a within 1h", "1.0, 1.5", "a")
    assert (node.holds, node.changes_at) == (True, T + H)
