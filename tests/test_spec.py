"""SPEC.md matches the implemented rule language: names, limits, citations and examples."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import msgspec
import pytest
import yaml

from segops.core import segments, static_lists
from segops.core.engine import Engine
from segops.core.errors import DefinitionError
from segops.core.events import Change, Event
from segops.core.features import CAPACITIES, MAX_ENTRIES, orders, sequence, sessions
from segops.core.features.feature import PANES
from segops.core.geo import EARTH_RADIUS_M, UNIT_M
from segops.core.merge import REMEMBERED, REMEMBERED_MS
from segops.core.operators import EDGES, OPERATORS
from segops.core.rules.counts import COUNT_OPERATORS
from segops.core.rules.model import ListInForce
from segops.core.rules.parsing import (
    INDICATOR_PATTERN,
    SCORE_PATTERN,
    WINDOW_KEYS,
    areas,
    context,
    figures,
    nodes,
    policy,
    reader,
    rfm,
    rhythm,
    sequences,
)
from segops.core.scoring import SCORERS, figure_scores
from segops.core.scoring.models import STANDARD_SCORES
from segops.core.scoring.rfm import Rfm
from segops.core.segments import Definition, SegmentSet
from segops.core.skips import FOUND
from segops.core.values import MAX_MS, UNIT_MS, kind, parse_duration, parse_instant
from segops.core.windows import CALENDAR_UNITS
from segops.schemas import lookups, models, published_lookups, written
from segops.schemas.events import decode
from segops.schemas.models import read_model
from segops.schemas.segment_reading import KEY_PATTERN
from segops.schemas.segments import load_checked
from segops.schemas.static_lists import bound
from segops.schemas.written import read_yaml
from segops.testing import Flip, at

from .core.oracle import Oracle

ROOT = Path(__file__).parents[1]
SPEC = ROOT / "segops/core/rules/SPEC.md"
TEXT = SPEC.read_text("utf-8")
ANCHORS = re.findall(r'<a id="([^"]*)"></a>', TEXT)
#: How a document or docstring cites the specification.
CITATION = re.compile(r"SPEC\.md#([\w-]*)")
PROFILE = "user_id:u1"
T = at("2026-01-05")
HORIZON_MS = 700 * 86_400_000
#: A value of each type.
VALUES: tuple[Any, ...] = (1, "", True, [], {}, None)
CALLS = ("page", "screen", "identify", "group", "alias")


def section(anchor: str) -> str:
    """Return the text between the heading of an anchor and the next heading."""
    found = re.search(rf'<a id="{anchor}"></a>\n(.*?)(?=^#|\Z)', TEXT, flags=re.S | re.M)
    assert found is not None, anchor
    return found[1]


def rows(anchor: str) -> list[list[str]]:
    """Return the cells of the table in a section, without its header."""
    lines = [line for line in section(anchor).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def names(anchor: str) -> list[str]:
    """Return the name in the first cell of each row: the text in backticks, up to a colon."""
    return [re.findall(r"`([^`:]+)", cells[0])[0] for cells in rows(anchor)]


def quoted(text: str, first: str, last: str) -> list[str]:
    """Return the names in backticks between two phrases, in order."""
    found = re.findall(r"`([^`]+)`", text)
    return found[found.index(first) : found.index(last, found.index(first)) + 1]


# -- citations -----------------------------------------------------------------------------------------


def pages() -> Iterator[Path]:
    yield ROOT / "README.md"
    yield ROOT / "CHANGELOG.md"
    for folder in ("segops", "tests", "deploy"):
        yield from (path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".md"))


def test_every_citation_names_an_anchor() -> None:
    cited = {
        (str(page.relative_to(ROOT)), anchor)
        for page in pages()
        if page != SPEC and page != Path(__file__)
        for anchor in CITATION.findall(page.read_text("utf-8"))
    }
    assert len(cited) > 10
    assert {(page, anchor) for page, anchor in cited if anchor not in ANCHORS} == set()


def test_contents_list_every_anchor_in_order() -> None:
    contents = re.search(r"^Contents:\n(.*?)\n\n", TEXT, flags=re.S | re.M)
    assert contents is not None
    assert re.findall(r"\]\(#([\w-]+)\)", contents[1]) == ANCHORS
    assert len(set(ANCHORS)) == len(ANCHORS)


def test_every_link_within_the_specification_resolves() -> None:
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= set(ANCHORS)


# -- names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("anchor", "known"),
    [
        ("nodes", nodes.HEADS),
        ("aggregates", figures.AGGREGATES),
        ("figures", figures.FIGURES),
        ("operators", OPERATORS),
        ("windows", WINDOW_KEYS),
        ("score", SCORERS),
        ("score-models", STANDARD_SCORES),
        ("rfm", {*rfm._FIELDS, "tiers"}),
        ("orders", orders.ORDER_NAMES),
        ("membership", policy._FIELDS),
        ("values", {kind(value) for value in VALUES}),
    ],
)
def test_table_lists_exactly_the_names_in_the_code(anchor: str, known: Collection[str]) -> None:
    assert sorted(names(anchor)) == sorted(known)


def test_every_node_links_to_its_own_section() -> None:
    for name, (cell, *_) in zip(names("nodes"), rows("nodes"), strict=True):
        (anchor,) = re.findall(r"\(#([\w-]+)\)", cell)
        assert any(name in example.when_keys for example in EXAMPLES if example.anchor == anchor), name


def test_lists_in_sentences_match_the_code() -> None:
    assert quoted(section("counts"), "eq", "not_in") == list(COUNT_OPERATORS)
    assert quoted(section("calendar"), "day", "year") == list(CALENDAR_UNITS)
    assert quoted(section("values"), "ms", "w") == list(UNIT_MS)
    assert quoted(section("values"), "m", "mi")[-3:] == list(UNIT_M)
    timed = [name for name in OPERATORS if name in EDGES]
    assert quoted(section("dates"), "in_last", "age_in_years") == timed
    assert quoted(section("skipped"), "text", "other_currency") == list(FOUND)
    assert quoted(section("changes"), "profile_id", "merged_into") == list(Change.__struct_fields__)
    assert f"`{KEY_PATTERN.strip('^$')}`" in section("files")
    assert f"`{INDICATOR_PATTERN.strip('^$')}`" in section("indicators")
    assert f"`{SCORE_PATTERN.strip('^$')}`" in section("score")
    assert f"(`{'`, `'.join(rfm.DIGITS)}`)" in section("rfm")
    assert f"{EARTH_RADIUS_M:,}" in section("near")


def test_rfm_defaults_match_the_code() -> None:
    default = Rfm()
    stated = {key.strip("`"): value.strip("`") for key, value, _ in rows("rfm")}
    form = {key: yaml.safe_load(value) for key, value in stated.items() if key not in ("currency", "tiers")}

    assert rfm.read_rfm(form, "rfm", context.Context()) == default
    assert stated["currency"] == "none" and "ten tiers" in stated["tiers"] and len(default.tiers) == 10


# -- limits --------------------------------------------------------------------------------------------

LIMITS = {
    "nodes of a rule": context.Context().max_nodes,
    "depth of a rule (`at_least` counts twice)": nodes._MAX_DEPTH,
    "references in a chain": segments.MAX_REFERENCES,
    "steps of a sequence": sequences.MAX_STEPS,
    "elements of a list of counts": reader.MAX_COUNTS,
    "edges of an RFM figure": rfm.MAX_EDGES,
    "areas of a place, and points of a polygon": areas.MAX_AREAS,
    "areas of a file, and points of its polygons": areas.MAX_POINTS,
    "rows of a look-up table": lookups.MAX_ROWS,
    "characters of a key of a look-up table": lookups._MAX_KEY,
    "bytes of the file of a look-up table": lookups.MAX_BYTES,
    "bytes of a column of a look-up table, compressed": published_lookups.MAX_COLUMN_BYTES,
    "postal codes": lookups.MAX_CODES,
    "features of a model": models.MAX_FEATURES,
    "trees of a model": models.MAX_TREES,
    "nodes of a tree": models.MAX_TREE_NODES,
    "points of a calibration": models.MAX_POINTS,
    "days of a feature": figure_scores.MAX_DAYS,
    "duration, in ms": MAX_MS,
    "depth of a file": written.MAX_DEPTH,
    "values of a file, aliases expanded": written.MAX_VALUES,
    "events kept for a sequence": sequence.MAX_LINKS,
    "events kept for `most_frequent`": MAX_ENTRIES,
    "orders kept of a profile": orders.MAX_ORDERS,
    "entries of `sum`, `avg`, `earliest`, and of a count above 256, `within`": MAX_ENTRIES,
    "values kept of a trait for `has_been` and `changed`": MAX_ENTRIES,
    "events kept since an anchor, or before the first one": MAX_ENTRIES,
    "periods of `regularly`": rhythm.MAX_PERIODS,
    "sessions kept for `sessions`": sessions.SessionCount.most,
    "sessions kept for `session`": sessions.MAX_SESSIONS,
    "versions of a static list remembered by a profile": static_lists.MAX_VERSIONS,
    "message ids remembered": REMEMBERED,
}


def test_every_limit_is_stated() -> None:
    assert {what: value for what, value, _ in rows("limits")} == {
        what: f"{value:,}" for what, value in LIMITS.items()
    }
    assert f"up to 1/{PANES} of the window" in section("limits")
    assert f"{', '.join(map(str, CAPACITIES))}, or all" in " ".join(section("limits").split())
    assert f"{REMEMBERED_MS // 3_600_000} hours" in section("limits")


@pytest.mark.parametrize(
    "module",
    [
        areas,
        context,
        figure_scores,
        lookups,
        models,
        nodes,
        orders,
        published_lookups,
        reader,
        rfm,
        rhythm,
        segments,
        sequence,
        sequences,
        sessions,
        written,
    ],
    ids=lambda m: m.__name__,
)
def test_every_bound_in_the_code_is_stated(module: ModuleType) -> None:
    found = {name: value for name, value in vars(module).items() if name.strip("_").startswith("MAX_")}
    assert {name for name, value in found.items() if value not in LIMITS.values()} == set()


def _nested(depth: int) -> dict[str, Any]:
    form: dict[str, Any] = {"did": "A"}
    for _ in range(depth - 1):
        form = {"not": form}
    return form


def test_rule_depth_is_counted_in_nodes() -> None:
    for depth, refused in ((nodes._MAX_DEPTH, False), (nodes._MAX_DEPTH + 1, True)):
        if refused:
            with pytest.raises(DefinitionError):
                nodes.read_rule(_nested(depth), "segments[0].when", context.Context())
        else:
            nodes.read_rule(_nested(depth), "segments[0].when", context.Context())


# -- examples ------------------------------------------------------------------------------------------


#: The blocks of a file that an example may have.
BLOCKS = ("rfm", "places", "indicators", "lookups", "postal_codes", "scores")


class Example(NamedTuple):
    """A rule of the specification with histories of a profile and the spans of its membership."""

    anchor: str
    number: int
    form: dict[str, Any]

    @property
    def when_keys(self) -> set[str]:
        return set(_keys(self.form["when"]))

    def definitions(self, folder: Path) -> list[Definition]:
        own = {key: self.form[key] for key in ("when", "membership") if key in self.form}
        others = [{"key": key, **form} for key, form in self.form.get("others", {}).items()]
        path = folder / "segments.json"
        blocks = {key: self.form[key] for key in BLOCKS if key in self.form}
        listed = [*others, {"key": "rule", **own}]
        path.write_bytes(msgspec.json.encode({"version": 1, **blocks, "segments": listed}))
        fitted = {form["name"]: read_model(form, "example") for form in self.form.get("models", ())}
        return bound(load_checked([path], fitted).definitions, self.lists)

    @property
    def lists(self) -> dict[str, ListInForce]:
        """The lists that the profile is on, each in its first version."""
        written = self.form.get("lists", {})
        return {key: ListInForce(1, None if at == "never" else _instant(at)) for key, at in written.items()}


def _keys(form: Any) -> Iterator[str]:
    if isinstance(form, dict):
        yield from form
        form = list(form.values())
    if isinstance(form, list):
        for item in form:
            yield from _keys(item)


def _examples() -> Iterator[Example]:
    for anchor in ANCHORS:
        for block in re.findall(r"^```yaml\n(.*?)^```", section(anchor), flags=re.S | re.M):
            for number, form in enumerate(read_yaml(block)):
                known = {"when", "membership", "others", *BLOCKS, "lists", "models", "cases"}
                assert set(form) <= known, form
                yield Example(anchor, number, form)


EXAMPLES = list(_examples())


def _instant(text: str) -> int:
    ms = parse_instant(text)
    return T + parse_duration(text) if ms is None else ms


def _events(events: list[list[Any]]) -> Iterator[Event]:
    for number, (time, name, *more) in enumerate(events):
        properties, context = [*more, {}, {}][:2]
        call = {"type": name} if name in CALLS else {"type": "track", "event": name}
        part = "traits" if name == "identify" else "properties"
        record = {**call, "userId": "u1", "messageId": f"m{number}", part: properties, "context": context}
        yield decode(msgspec.json.encode(record), time_ms=_instant(time), default_id="-", context_keys=None)


def _spans(spans: list[str]) -> Iterator[Flip]:
    for span in spans:
        begin, _, end = span.partition("..")
        yield Flip("entered", "rule", _instant(begin))
        if end:
            yield Flip("exited", "rule", _instant(end))


CASES = [
    pytest.param(example, case, id=f"{example.anchor}-{example.number}-{number}")
    for example in EXAMPLES
    for number, case in enumerate(example.form["cases"])
]


@pytest.mark.parametrize(("example", "case"), CASES)
def test_compiled_rule_holds_during_the_stated_spans(
    example: Example, case: dict[str, Any], tmp_path: Path
) -> None:
    engine = Engine(SegmentSet(example.definitions(tmp_path)))
    profile, changes, now_ms = engine.new_profile(PROFILE), [], T
    profile.lists = {key: [each.version] for key, each in example.lists.items()}
    for event in _events(case["events"]):
        now_ms = max(now_ms, event.time_ms)
        changes += engine.on_event(profile, event, clock_ms=now_ms).changes
    expected = list(_spans(case["member"]))
    flips_at = profile.flips.get("rule", T + HORIZON_MS)
    changes += engine.on_timer(profile, clock_ms=T + HORIZON_MS).changes
    own = [change for change in changes if change.segment_key == "rule"]
    assert [Flip(c.action, c.segment_key, c.occurred_at) for c in own] == expected
    coming = [edge.occurred_at for edge in expected if edge.occurred_at > now_ms]
    assert min(flips_at, T + HORIZON_MS) == min([*coming, T + HORIZON_MS])
    for change, after in pairwise(own):
        if change.occurred_at >= now_ms and after.reason == "time":
            assert change.flips_at == after.occurred_at


@pytest.mark.parametrize(("example", "case"), CASES)
def test_reference_evaluator_holds_during_the_stated_spans(
    example: Example, case: dict[str, Any], tmp_path: Path
) -> None:
    oracle, changes, now_ms = Oracle(SegmentSet(example.definitions(tmp_path)).definitions), [], T
    oracle.history.put_on({key: [each.version] for key, each in example.lists.items()})
    for event in _events(case["events"]):
        now_ms = max(now_ms, event.time_ms)
        changes += oracle.on_event(event, now_ms)
    changes += oracle.on_clock(T + HORIZON_MS)
    found = [Flip(c.action, c.segment, c.occurred_at) for c in changes if c.segment == "rule"]
    assert found == list(_spans(case["member"]))
