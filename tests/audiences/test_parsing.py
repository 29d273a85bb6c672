"""Audiences as written: every mistake is named with its path, and what is published reads back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from segops.core.audiences.audit import AuditEntry, sign
from segops.core.audiences.model import AudienceRecord
from segops.core.errors import DefinitionError
from segops.core.rules.parsing import Context
from segops.schemas.audiences import decode_record, encode_record, read_audience
from segops.schemas.json_schema import json_schema
from segops.schemas.segments import load_checked
from tests.command import call

from .helpers import FULL, act, audience, planned

VALIDATOR = Draft202012Validator(json_schema())
RATE = "entries: expected a map with at_most and per"
#: Mistakes that the schema refuses, too.
SEEN: list[tuple[dict[str, Any], str]] = [
    ({"key": "a.b"}, "key: expected a key of at most 64 lower-case letters"),
    ({"key": "a" * 65}, "key: expected a key of at most 64"),
    ({"segment": "A"}, "segment: expected a key"),
    ({"channel": "fax"}, "channel: expected one of email, sms, push, ads, webhook, got 'fax'"),
    ({"purpose": "a b"}, "purpose: expected a purpose"),
    ({"suppress": []}, "suppress: expected a list of 1 to 100 keys of segments"),
    ({"suppress": ["trait."]}, "suppress[0]: "),
    ({"suppress": [5]}, "suppress[0]: expected a string, got 5"),
    ({"hold_out": {"salt": "s"}}, "hold_out: expected a map with salt and percent"),
    ({"hold_out": {"salt": "", "percent": 1}}, "hold_out.salt: expected a text of 1 to 200"),
    (
        {"hold_out": {"salt": "s", "percent": 100}},
        "hold_out.percent: expected a percentage above 0 and below",
    ),
    (
        {"frequency": {"at_most": 0, "per": "1d"}},
        "frequency.at_most: expected an integer of at least 1, got 0",
    ),
    ({"frequency": {"at_most": 1, "per": "0d"}}, "frequency.per: expected a duration above 0"),
    ({"existing": "all"}, "existing: expected one of only_new, send, got 'all'"),
    ({"reasons": {"event": "quiet"}}, "reasons.event: unknown key"),
    ({"reasons": {"merge": "loud"}}, "reasons.merge: expected one of quiet, normal, got 'loud'"),
    ({"limits": {"share": "-20%"}}, "limits.share: expected a share above 0% and up to 100%"),
    ({"limits": {"share": "101%"}}, "limits.share: expected a share above 0% and up to 100%"),
    ({"limits": {"entries": 5}}, f"limits.{RATE}"),
    ({"limits": {}}, "limits: expected a map with any of members, share, entries, exits"),
    ({"deliver": [{"metric": "x"}]}, "deliver[0]: expected a map with to"),
    ({"deliver": [{"to": "A"}]}, "deliver[0].to: expected a key"),
    ({"deliver": [{"to": "a", "Metric": 1}]}, "deliver[0].Metric: expected the name of an option"),
    ({"deliver": [{"to": "a", "metric": {}}]}, "deliver[0].metric: expected a number, a string or a boolean"),
    ({"properties": ["email"]}, "properties[0]: expected indicator.KEY or trait.PATH"),
    ({"properties": ["rfm.tier"]}, "properties[0]: expected indicator.KEY or trait.PATH (publish"),
    ({"goal": {"trait": "x"}}, "goal: expected a did node"),
    ({"goal": {"did": "x", "within": "0d"}}, "goal.within: expected a duration above 0"),
    ({"goal": {"did": "x"}}, "goal: expected a did node with within"),
    ({"goal": {"did": "x", "since": "2026-01-01"}}, "goal: expected a did node with within"),
    (
        {"goal": {"did": "x", "within": "7d", "refresh": {"every": "day"}}},
        "goal: expected a did node with within",
    ),
    ({"alert": {"size": "0%"}}, "alert: expected"),
    ({"name": "x" * 201}, "name: expected at most 200 characters, got 201"),
    ({"extra": 1}, "extra: unknown key; expected one of key, segment, channel"),
    ({"segment": None}, "segment: missing key"),
]
#: Mistakes that concern two values, or more than a schema can say.
UNSEEN: list[tuple[dict[str, Any], str]] = [
    ({"limits": {"exits": {"at_most": 5, "per": "32d"}}}, "limits.exits: expected per of at most 31d"),
    ({"suppress": ["x", "x"]}, "suppress[1]: 'x' is there twice"),
    ({"suppress": ["at-risk"]}, "suppress: never holds: at-risk is the segment of the audience"),
    (
        {"hold_out": {"salt": "s", "percent": 0.001}},
        "hold_out.percent: expected a percentage above 0 and below",
    ),
    ({"deliver": [{"to": "a", "metric": "x" * 1_001}]}, "deliver[0].metric: expected at most 100 values"),
]


@pytest.mark.parametrize(("changed", "message"), [*SEEN, *UNSEEN], ids=lambda value: str(value)[:40])
def test_mistake_is_named_with_its_path(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        audience(**changed)
    assert str(refused.value).startswith(f"shop.yaml: audiences[0].{message}")


@pytest.mark.parametrize("changed", [changed for changed, _ in SEEN], ids=lambda value: str(value)[:40])
def test_schema_refuses_what_an_editor_can_see(changed: dict[str, Any]) -> None:
    written = {key: each for key, each in {**FULL, **changed}.items() if each is not None}
    assert not VALIDATOR.is_valid({"version": 1, "audiences": [written]})


def test_schema_accepts_what_is_valid() -> None:
    VALIDATOR.validate({"version": 1, "audiences": [FULL, {"key": "a", "segment": "b", "channel": "sms"}]})
    assert not VALIDATOR.is_valid({"version": 1})


def test_all_mistakes_of_a_file_are_reported_together(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text(yaml.safe_dump({"version": 1, "audiences": [FULL, {**FULL, "channel": "fax"}, FULL, 5]}))
    two.write_text(yaml.safe_dump({"version": 1, "audiences": [FULL], "segments": [{"key": "a"}]}))
    with pytest.raises(DefinitionError) as refused:
        load_checked([tmp_path])
    assert [
        (Path(each.source).name, each.path, each.reason.split(":")[0][:30]) for each in refused.value.issues
    ] == [
        ("one.yaml", "audiences[1].channel", "expected one of email, sms, pu"),
        ("one.yaml", "audiences[2].key", "duplicate key 'winback-email'"),
        ("one.yaml", "audiences[3]", "expected a map with key, segme"),
        ("two.yaml", "segments[0].when", "missing key"),
        ("two.yaml", "audiences.winback-email", "duplicate audience 'winback-em"),
    ]


def test_check_reads_audiences_beside_segments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "both.yaml"
    path.write_text(
        yaml.safe_dump(
            {"version": 1, "audiences": [FULL], "segments": [{"key": "at-risk", "when": {"did": "A"}}]}
        )
    )
    assert call("check", path) == 0
    said = capsys.readouterr()
    assert said.out == "1 segment, 1 feature, 1 audience: OK\n"
    assert "audience winback-email: the segment unsubscribed is not in these files" in said.err
    assert "at-risk is not" not in said.err


options = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True).filter(lambda key: key != "to"),
    st.one_of(
        st.booleans(), st.integers(-9, 9), st.text(max_size=9), st.lists(st.integers(0, 9), min_size=1)
    ),
    max_size=3,
)


@given(options, st.integers(1, 9_999), st.integers(1, 10**6), st.booleans())
def test_published_audience_reads_back(given_: dict[str, Any], share: int, members: int, full: bool) -> None:
    written = {
        **(FULL if full else {"key": "a", "segment": "b", "channel": "ads"}),
        "hold_out": {"salt": "s", "percent": share / 100},
        "limits": {"members": members},
        "deliver": [{"to": "hook", **given_}],
    }
    found = read_audience(written, "audiences[0]", Context())
    entry = AuditEntry("1", found.key, 1, "", act(), "apply", "draft", "draft")
    plan = planned({"audience": "1"})
    record = AudienceRecord(found, "draft", 5, 1, ("ann",), True, act(), plan, latest=sign(entry, b"k"))
    assert decode_record(encode_record(record)) == record
    VALIDATOR.validate({"version": 1, "audiences": [written]})


@pytest.mark.parametrize(
    "value", [b"", b"{}", b"[]", b"\xff", b'{"audience": 5, "state": "draft", "since_ms": 1}']
)
def test_record_of_any_client_is_refused_with_a_reason(value: bytes) -> None:
    with pytest.raises(DefinitionError, match="audiences topic: -: invalid record: "):
        decode_record(value)
    odd = encode_record(
        AudienceRecord(msgspec.structs.replace(audience(), written={"key": "A"}), "active", 0)
    )
    with pytest.raises(DefinitionError, match="missing key"):
        decode_record(odd)
