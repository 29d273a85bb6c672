"""A new segment set compiles only changed definitions and reevaluates only affected segments."""

from __future__ import annotations

import copy
import linecache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core import segments as module
from segops.core.engine import Engine
from segops.core.errors import DefinitionError
from segops.core.memberships import compile_membership
from segops.core.segments import MAX_REFERENCES, Definition, SegmentSet, check_references
from segops.testing import definition
from tests.rest import examples

from .helpers import MONDAY as T
from .helpers import D
from .strategies import RFM, policies, rules, streams
from .strategies_areas import PLACES
from .strategies_lookups import BLOCKS
from .strategies_scores import score_models

KEYS = ("a", "b", "c", "d")


@st.composite
def successive_sets(draw: Any) -> tuple[list[Definition], list[Definition], list[Definition]]:
    """Draw three successive sets of definitions, with changed, added and removed ones."""
    former: dict[str, Definition] = {}
    drawn = []
    for version in (1, 2, 3):
        now: dict[str, Definition] = {}
        for number, key in enumerate(KEYS):
            known = former.get(key)
            fate = draw(st.sampled_from(["keep", "keep", "change", "leave out"]))
            if fate == "keep" and known is not None:
                now[key] = known
            elif fate != "leave out":
                rule = draw(rules(tuple(each for each in KEYS[:number] if each in now)))
                more = {"membership": draw(policies())} if draw(st.integers(0, 3)) == 0 else {}
                blocks = {"areas": PLACES, "tables": BLOCKS, "rfm": RFM, "models": score_models(rule)}
                now[key] = definition(key, {**rule, **more}, version=version, **blocks)
        fitting = [each for each in now.values() if set(module.references(each.when)) <= now.keys()]
        known_keys = {each.key for each in fitting}
        former = {d.key: d for d in fitting if set(module.references(d.when)) <= known_keys}
        drawn.append(list(former.values()))
    return drawn[0], drawn[1], drawn[2]


@examples(30, of=150)
@given(successive_sets(), streams(), st.integers(0, 10 * D))
def test_incremental_set_evaluates_like_a_set_compiled_from_scratch(
    drawn: tuple[list[Definition], list[Definition], list[Definition]],
    steps: list[tuple[str, Any]],
    wait_ms: int,
) -> None:
    try:
        first = SegmentSet(drawn[0])
        sets = [SegmentSet(drawn[1], first)]
        sets.append(SegmentSet(drawn[2], sets[0]))
    except DefinitionError:
        return  # a reference to a removed segment
    alone = [SegmentSet(each) for each in drawn[1:]]
    assert [each.version for each in sets] == [each.version for each in alone]
    assert [each.blank_members for each in sets] == [each.blank_members for each in alone]
    profile = Engine(first).new_profile("user_id:u1")
    latest = T
    for kind, step in steps:
        if kind == "event":
            latest = max(latest, step.time_ms)
            Engine(first).on_event(profile, step, clock_ms=step.time_ms)
    if profile.first_ms is None:
        return
    skipped = copy.deepcopy(profile)
    other, skipped_other = copy.deepcopy(profile), copy.deepcopy(profile)
    for ours, theirs in zip(sets, alone, strict=True):
        latest += wait_ms
        found = Engine(ours).on_definitions(profile, clock_ms=latest)
        expected = Engine(theirs).on_definitions(other, clock_ms=latest)
        assert found.changes == expected.changes
        assert profile == other
    found = Engine(sets[1]).on_definitions(skipped, clock_ms=latest)
    expected = Engine(alone[1]).on_definitions(skipped_other, clock_ms=latest)
    assert found.changes == expected.changes
    assert skipped == skipped_other


def buyers(number: int, version: int = 1) -> Definition:
    return definition(f"s{number:03}", {"did": "Bought", "count": {"gte": number + version}}, version=version)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    keys: list[str] = []

    def counting(key: str, *args: Any) -> Any:
        keys.append(key)
        return compile_membership(key, *args)

    monkeypatch.setattr(module, "compile_membership", counting)
    return keys


def test_only_changed_definitions_are_compiled(compiled: list[str]) -> None:
    definitions = [buyers(number) for number in range(200)]
    definitions.append(definition("user", {"in_segment": "s007"}))
    first = SegmentSet(definitions)
    assert len(compiled) == 201
    compiled.clear()
    again = [
        buyers(number, 2 if number == 7 else 1) for number in range(200)
    ]  # parsed again, as after a restart
    second = SegmentSet([*again, definitions[-1]], first)
    assert compiled == ["s007", "user"]
    assert second.changed_since == {first.version: frozenset({"s007", "user"})}
    compiled.clear()
    third = SegmentSet([*second.definitions, definition("a-first", {"did": "Seen"})], second)
    assert compiled == ["a-first"]
    assert third.changed_since[first.version] == {"s007", "user", "a-first"}
    assert [each.index for each in third.segments] == list(range(202))
    assert third.by_key["s100"].rule is first.by_key["s100"].rule


def test_new_name_compiles_nothing_and_new_version_does(compiled: list[str]) -> None:
    first = SegmentSet([buyers(1), buyers(2)])
    compiled.clear()
    named = Definition("s001", "Other", buyers(1).when)
    assert SegmentSet([named, buyers(2)], first).definitions[0].name == "Other"
    assert compiled == []
    SegmentSet([buyers(1), buyers(2, version=2)], first)
    assert compiled == ["s002"]


def chain(length: int) -> list[Definition]:
    links = [definition(f"s{n:04}", {"in_segment": f"s{n + 1:04}"}) for n in range(length)]
    return [*links, definition(f"s{length:04}", {"did": "Bought"})]


def test_long_reference_chain_is_rejected_but_loads_if_already_published() -> None:
    check_references(chain(MAX_REFERENCES))
    with pytest.raises(DefinitionError, match="a chain of more than 100 segments"):
        check_references(chain(MAX_REFERENCES + 1))
    assert len(SegmentSet(chain(3_000)).segments) == 3_001


def test_long_cycle_is_reported() -> None:
    links = [definition(f"s{n:04}", {"in_segment": f"s{(n + 1) % 2_000:04}"}) for n in range(2_000)]
    with pytest.raises(DefinitionError, match=r"s0000 -> s0001 -> .* -> s1999 -> s0000"):
        SegmentSet(links)


def test_traceback_through_a_rule_shows_its_expression() -> None:
    rule = (
        SegmentSet([definition("a-b", {"did": "Bought", "count": {"gte": 2}, "within": "1d"})])
        .by_key["a-b"]
        .rule
    )
    file = rule.holds.__code__.co_filename  # type: ignore[attr-defined]
    assert "def rule_a_b(profile, now_ms):" in linecache.getline(file, 1)
    assert "len(state_0.times) >= 2" in linecache.getline(file, 2)
