"""Segment files: every refusal with its place and reason, all of them in one run; the traps of YAML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from segops.core.errors import DefinitionError, UserError
from segops.schemas.segments import definition_from_record, definition_to_record, load, load_checked


def write(folder: Path, text: str, name: str = "s.yaml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def one(when: Any, **more: Any) -> str:
    return yaml.safe_dump({"version": 1, "segments": [{"key": "s", "when": when, **more}]}, sort_keys=False)


def refused(path: Path) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        load([path])
    return [str(issue).removeprefix(f"{path}: ") for issue in caught.value.issues]


WHEN = "segments[0].when"


@pytest.mark.parametrize(
    ("when", "message"),
    [
        # an unknown key or operator
        ({"dit": "A"}, f"{WHEN}: unknown node dit; expected one of"),
        (
            {"did": "A", "whithin": "1d"},
            f"{WHEN}.whithin: unknown key; expected one of did, where, count, within",
        ),
        ({"did": "A", "did_not": "B"}, f"{WHEN}: expected exactly one of"),
        ({"did_not": "A", "count": {"gte": 1}}, f"{WHEN}.count: unknown key"),
        ({"trait": "a", "is": {"equals": 1}}, f"{WHEN}.is.equals: unknown operator; expected one of eq, ne"),
        (
            {"did": "A", "count": {"contains": 1}},
            f"{WHEN}.count.contains: unknown operator; expected one of eq, ne",
        ),
        ({"did": "A", "where": {"p": {"gte": 1, "gtt": 2}}}, f"{WHEN}.where.p.gtt: unknown operator"),
        ({"at_least": {"k": 1, "of": [{"did": "A"}], "x": 1}}, f"{WHEN}.at_least.x: unknown key"),
        # an empty list
        ({"all": []}, f"{WHEN}.all: expected a non-empty list of nodes"),
        ({"any": []}, f"{WHEN}.any: expected a non-empty list of nodes"),
        ({"at_least": {"k": 1, "of": []}}, f"{WHEN}.at_least.of: expected a non-empty list of nodes"),
        ({"did": []}, f"{WHEN}.did: expected an event name, any_event, or a non-empty list of event names"),
        ({"trait": "a", "is": {"in": []}}, f"{WHEN}.is.in: expected a non-empty list of values"),
        ({"did": "A", "where": {}}, f"{WHEN}.where: expected a non-empty map of properties to predicates"),
        ({"did": "A", "where": {"p": {}}}, f"{WHEN}.where.p: expected at least one operator"),
        # a wrong type
        ({"all": {"did": "A"}}, f"{WHEN}.all: expected a non-empty list of nodes"),
        ({"not": "A"}, f"{WHEN}.not: expected a map with one of"),
        ({"did": 5}, f"{WHEN}.did: expected an event name"),
        ({"did": "A", "count": 3}, f"{WHEN}.count: expected a map of operators, such as {{gte: 3}}, got 3"),
        ({"did": "A", "count": {"gte": 1.5}}, f"{WHEN}.count.gte: expected an integer, got 1.5"),
        ({"did": "A", "count": {"gte": "3"}}, f"{WHEN}.count.gte: expected an integer, got '3'"),
        (
            {"did": "A", "within": 48},
            f"{WHEN}.within: expected a duration in ms, s, m, h, d or w, such as 48h, got 48",
        ),
        (
            {"did": "A", "within": "2 days"},
            f"{WHEN}.within: expected a duration in ms, s, m, h, d or w, such as 48h, got '2 days'",
        ),
        (
            {"did": "A", "within": "-1d"},
            f"{WHEN}.within: expected a duration in ms, s, m, h, d or w, such as 48h, got '-1d'",
        ),
        ({"sum": "p", "of": "A"}, f"{WHEN}.is: expected a map of operators"),
        ({"sum": "p", "is": {"gte": 1}}, f"{WHEN}.of: expected an event name"),
        ({"sum": "", "of": "A", "is": {"gte": 1}}, f"{WHEN}.sum: expected a property path"),
        ({"trait": "a..b", "is": {"eq": 1}}, f"{WHEN}.trait: expected a property path"),
        ({"trait": "a", "is": {"lt": True}}, f"{WHEN}.is.lt: expected a number or a string, got True"),
        ({"first": "A", "is": {"gte": 1}}, f"{WHEN}.is: expected older_than or newer_than"),
        ({"in_segment": 5}, f"{WHEN}.in_segment: expected a segment key, got 5"),
        (
            {"known_for": "long"},
            f"{WHEN}.known_for: expected a duration in ms, s, m, h, d or w, such as 48h, got 'long'",
        ),
        ({"at_least": {"k": 3, "of": [{"did": "A"}]}}, f"{WHEN}.at_least.k: expected an integer from 1 to"),
        ({"at_least": {"k": 0, "of": [{"did": "A"}]}}, f"{WHEN}.at_least.k: expected an integer from 1 to"),
        ({"at_least": [{"did": "A"}]}, f"{WHEN}.at_least: expected a map with k and of"),
        # windows
        ({"did": "A", "within": "0d"}, f"{WHEN}.within: expected a duration above 0"),
        (
            {"did": "A", "within": "1d", "since": "2025-01-01"},
            f"{WHEN}: expected at most one window, got since",
        ),
        (
            {"did": "A", "between": {"from": "30d", "to": "90d"}},
            f"{WHEN}.between: expected from further back",
        ),
        ({"did": "A", "between": {"from": "30d"}}, f"{WHEN}.between: expected a map with from and to"),
        (
            {"did": "A", "since": "2025-02-01", "until": "2025-01-01"},
            f"{WHEN}.until: expected until after since",
        ),
        ({"did": "A", "since": "soon"}, f"{WHEN}.since: expected an ISO-8601 date or time, got 'soon'"),
        (
            {"did": "A", "calendar": {"this": "hour"}},
            f"{WHEN}.calendar.this: expected one of day, week, month, year",
        ),
        (
            {"did": "A", "calendar": {"this": "day", "zone": "Mars"}},
            f"{WHEN}.calendar.zone: unknown time zone 'Mars' (e.g. Europe/Paris)",
        ),
        # an unknown segment, an unsafe expression, what can never or always hold
        ({"in_segment": "nobody"}, "s.when: in_segment: unknown segment nobody"),
        (
            {"trait": "a", "is": {"matches": r"(a)\1"}},
            f"{WHEN}.is.matches: invalid regular expression '(a)\\\\1'",
        ),
        ({"did": "A", "count": {"lt": 0}}, f"{WHEN}.count: never holds: a count is an integer of at least 0"),
        ({"did": "A", "count": {"gt": 5, "lt": 3}}, f"{WHEN}.count: never holds"),
        ({"did": "A", "count": {"gt": 2, "lt": 3}}, f"{WHEN}.count: never holds"),
        ({"did": "A", "count": {"lte": 0, "gte": 1}}, f"{WHEN}.count: never holds"),
        ({"did": "A", "count": {"ne": -1}}, f"{WHEN}.count: always holds"),
        ({"distinct": "p", "of": "A", "is": {"gte": 0, "ne": -3}}, f"{WHEN}.is: always holds"),
        ({"sum": "p", "of": "A", "is": {"between": [5, 1]}}, f"{WHEN}.is.between: never holds"),
        ({"last": "A", "is": {"newer_than": "0d"}}, f"{WHEN}.is.newer_than: expected a duration above 0"),
        (
            {"last": "A", "is": {"older_than": "9d", "newer_than": "9d"}},
            f"{WHEN}.is: never holds: older_than is not below newer_than",
        ),
    ],
)
def test_mistake_is_rejected_with_path_and_reason(tmp_path: Path, when: Any, message: str) -> None:
    issues = refused(write(tmp_path, one(when)))
    assert issues[0].startswith(message), issues
    assert len(issues) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "-: "),
        ("[]", "-: "),
        ("segments: []", "version: missing key"),
        ("version: 2\nsegments: [{key: a, when: {did: A}}]", "version: expected 1, got 2"),
        ("version: 1\nsegments: []", "segments: expected a non-empty list"),
        ("version: 1\nsegmets: []", "segments: missing key"),
        ("version: 1\nsegments: [{key: a, when: {did: A}, owner: me}]", "segments[0].owner: unknown"),
        (
            "version: 1\nsegments: [{key: A_b, when: {did: A}}]",
            "segments[0].key: expected at most 64 lower-case",
        ),
        (
            "version: 1\nsegments: [{key: -a, when: {did: A}}]",
            "segments[0].key: expected at most 64 lower-case",
        ),
        ("version: 1\nsegments: [{when: {did: A}}]", "segments[0].key: missing key"),
        ("version: 1\nsegments: [{key: a}]", "segments[0].when: missing key"),
        ("version: 1\nsegments: [{key: a, when: [1]}]", "segments[0].when: "),
        ("version: 1\nsegments: [nonsense]", "segments[0]: "),
        (
            "version: 1\nsegments: [{key: a, when: {did: A",
            "line 3, column 1: did not find expected ',' or '}' (while parsing a flow mapping, starting at",
        ),
        (
            "version: 1\nversion: 1\nsegments: [{key: a, when: {did: A}}]",
            "line 1, column 1: duplicate key 'version'",
        ),
        (
            "version: 1\nsegments: [{key: a, when: {did: A, did: B}}]",
            "line 2, column 27: duplicate key 'did'",
        ),
        ("version: 1\nsegments: [{key: a, when: !!python/object:os.system {}}]", "line 2"),
    ],
)
def test_file_of_the_wrong_form_is_rejected(tmp_path: Path, text: str, message: str) -> None:
    assert refused(write(tmp_path, text))[0].startswith(message)


def test_a_key_has_64_characters_at_most(tmp_path: Path) -> None:
    assert load([write(tmp_path, one({"did": "A"}).replace("key: s", f"key: {'k' * 64}"))])
    assert refused(write(tmp_path, one({"did": "A"}).replace("key: s", f"key: {'k' * 65}")))


def test_duplicate_key_across_files_is_rejected(tmp_path: Path) -> None:
    write(tmp_path, one({"did": "A"}), "a.yaml")
    write(tmp_path, one({"did": "B"}), "b.yaml")
    with pytest.raises(DefinitionError, match="duplicate key 's'"):
        load([tmp_path])


def test_cycle_is_rejected_with_its_path(tmp_path: Path) -> None:
    keys = {"a": "b", "b": "c", "c": "a"}
    text = {
        "version": 1,
        "segments": [{"key": k, "when": {"not": {"in_segment": v}}} for k, v in keys.items()],
    }
    (issue,) = refused(write(tmp_path, json.dumps(text), "c.json"))
    assert issue == "a.when: in_segment forms a cycle: a -> b -> c -> a"


def test_segment_must_not_reference_itself(tmp_path: Path) -> None:
    assert refused(write(tmp_path, one({"in_segment": "s"}))) == ["s.when: in_segment forms a cycle: s -> s"]


def test_every_mistake_of_a_folder_is_reported_in_one_run(tmp_path: Path) -> None:
    write(tmp_path, one({"all": [{"did": "A", "within": "0d"}, {"did": []}, {"dit": "B"}]}), "a.yaml")
    (tmp_path / "deep").mkdir()
    other = one({"trait": "x", "is": {"in": [], "lt": True}}).replace("key: s", "key: other")
    write(tmp_path / "deep", other, "b.yml")
    write(tmp_path, "version: 1\nsegments: [", "broken.yaml")
    write(tmp_path, one({"did": "A"}).replace("key: s", "key: fine"), "fine.yaml")
    write(tmp_path, "not ours", "notes.txt")
    with pytest.raises(DefinitionError) as caught:
        load([tmp_path])
    locations = [(Path(issue.source).name, issue.path.removeprefix(WHEN)) for issue in caught.value.issues]
    assert [location for location in locations if location[0] != "broken.yaml"] == [
        ("a.yaml", ".all[0].within"),
        ("a.yaml", ".all[1].did"),
        ("a.yaml", ".all[2]"),
        ("b.yml", ".is.in"),
        ("b.yml", ".is.lt"),
    ]
    assert [name for name, _ in locations].count("broken.yaml") == 1


def test_reference_to_an_invalid_segment_is_not_reported(tmp_path: Path) -> None:
    forms = [{"key": "a", "when": {"did": []}}, {"key": "b", "when": {"in_segment": "a"}}]
    issues = refused(write(tmp_path, json.dumps({"version": 1, "segments": forms}), "s.json"))
    assert [issue.split(":")[0] for issue in issues] == ["segments[0].when.did"]


def test_count_gte_0_is_only_a_warning(tmp_path: Path) -> None:
    loaded = load_checked([write(tmp_path, one({"did": "A", "count": {"gte": 0}}))])
    assert [d.key for d in loaded.definitions] == ["s"]
    assert [(w.path, w.reason) for w in loaded.warnings] == [
        (f"{WHEN}.count", "always holds: a count is never below 0")
    ]


def test_excessively_nested_file_is_rejected(tmp_path: Path) -> None:
    rule: Any = {"did": "A"}
    for _ in range(60):
        rule = {"not": rule}
    (issue,) = refused(
        write(tmp_path, json.dumps({"version": 1, "segments": [{"key": "s", "when": rule}]}), "s.json")
    )
    assert "nested more than 50 nodes deep" in issue


@pytest.mark.parametrize("levels", [1_000, 50_000])
def test_a_rule_of_a_thousand_levels_is_refused(tmp_path: Path, levels: int) -> None:
    rule = '{"not":' * levels + '{"did":"A"}' + "}" * levels
    for name in ("s.json", "s.yaml"):
        (issue,) = refused(
            write(tmp_path, f'{{"version": 1, "segments": [{{"key": "s", "when": {rule}}}]}}', name)
        )
        assert "nested more than 200 levels deep" in issue or "exceeded maximum nesting depth" in issue


@pytest.mark.parametrize("head", ["all", "any"])
def test_rule_with_too_many_nodes_is_reported_once(tmp_path: Path, head: str) -> None:
    def wide(leaves: int) -> str:
        return one({head: [{"trait": f"t{i}", "is": {"eq": i}} for i in range(leaves)]})

    assert load([write(tmp_path, wide(999))])
    assert refused(write(tmp_path, wide(1_000))) == [
        f"{WHEN}: more than 1,000 nodes; use lists, or split the rule into several segments"
    ]
    assert len(refused(write(tmp_path, wide(5_000)))) == 1


def test_list_of_counts_is_limited(tmp_path: Path) -> None:
    def listed(counts: int) -> str:
        return one({"did": "A", "count": {"in": list(range(counts))}})

    assert load([write(tmp_path, listed(100))])
    (issue,) = refused(write(tmp_path, listed(1_001)))
    assert issue.startswith(f"{WHEN}.count.in: expected at most 1,000 counts, got 1,001")


def test_published_rule_may_have_more_nodes_than_a_file_rule() -> None:
    when = {"any": [{"did": f"E{i}"} for i in range(2_000)]}
    assert definition_from_record(msgspec.json.encode({"key": "s", "version": 1, "when": when})) is not None


@pytest.mark.parametrize("name", ["nothing.yaml", "empty"])
def test_path_without_segment_files_is_a_user_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=name):
        load([tmp_path / name])


# -- the traps of YAML and JSON ----------------------------------------------------------------------


def test_yaml_dates_stay_strings(tmp_path: Path) -> None:
    when = "{all: [{did: A, since: 2025-01-01}, {trait: day, is: {eq: 2025-01-01}}]}"
    text = f"version: 1\nsegments:\n- key: s\n  when: {when}"
    (found,) = load([write(tmp_path, text)])
    assert found.written == {
        "all": [{"did": "A", "since": "2025-01-01"}, {"trait": "day", "is": {"eq": "2025-01-01"}}]
    }


def test_json_is_read_as_json(tmp_path: Path) -> None:
    when = '{"sum": "p",\n\t"of": "\\ud83d\\ude00", "is": {"gte": 1e3}}'
    text = f'{{"version": 1,\n\t"segments": [{{"key": "s", "when": {when}}}]}}'
    (found,) = load([write(tmp_path, text, "s.json")])
    assert found.written == {"sum": "p", "of": "😀", "is": {"gte": 1000.0}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"version": 1, "version": 1, "segments": []}', "duplicate key 'version'"),
        ('{"version": 1, "segments": [', "line 1"),
        ('{"version": 1, "segments": [{"key": "s", "when": {"trait": "a", "is": {"eq": NaN}}}]}', "NaN"),
    ],
)
def test_invalid_json_is_rejected(tmp_path: Path, text: str, message: str) -> None:
    (issue,) = refused(write(tmp_path, text, "s.json"))
    assert message in issue


def test_yaml_merge_keys_vary_a_segment(tmp_path: Path) -> None:
    text = "version: 1\nsegments:\n  - &a {key: a, when: {did: A}}\n  - {<<: *a, key: b}\n"
    a, b = load([write(tmp_path, text, "s.yaml")])
    assert (a.key, b.key, b.when) == ("a", "b", a.when)


# -- identity, versions, records -----------------------------------------------------------------------


def test_layout_does_not_affect_rule_identity(tmp_path: Path) -> None:
    spellings = [
        {"all": [{"did": ["A", "B"], "within": "48h"}, {"did": "C", "where": {"p": 1}}]},
        {"all": [{"did": "C", "where": {"p": {"eq": 1}}}, {"did": ["B", "A", "A"], "within": "2d"}]},
        {
            "all": [
                {"did": "C", "count": {"gte": 1}, "where": {"p": 1}},
                {"within": "172800s", "did": ["A", "B"]},
            ]
        },
    ]
    found = {load([write(tmp_path, one(when))])[0].identity for when in spellings}
    assert len(found) == 1
    assert load([write(tmp_path, one({"did": ["A", "B"], "within": "48h"}))])[0].identity not in found


# -- the membership block ------------------------------------------------------------------------------


def test_policy_round_trips_through_its_record(tmp_path: Path) -> None:
    limits = {"min_stay": "7d", "cool_down": "720h", "max_entries": 3}
    (definition,) = load([write(tmp_path, one({"did": "A"}, membership=limits))])
    assert definition.policy is not None
    assert definition.policy.written == {"min_stay": "1w", "cool_down": "30d", "max_entries": 3}
    again = definition_from_record(definition_to_record(definition))
    assert again is not None
    assert (again.policy, again.identity) == (definition.policy, definition.identity)
    assert b"membership" not in definition_to_record(msgspec.structs.replace(definition, policy=None))


def test_empty_membership_block_and_invalid_rule_are_reported_together(tmp_path: Path) -> None:
    path = write(tmp_path, one({"did": "A", "within": "0d"}, membership=None))
    assert refused(path) == [
        "segments[0].when.within: expected a duration above 0, got '0d'",
        "segments[0].membership: expected a map with any of min_stay, cool_down, max_entries",
    ]
