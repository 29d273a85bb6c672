"""What an approval is bound to: it is void if and only if something that decides was edited."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.audiences.approval import differences, editions_of, meaning_of, status_of
from segops.core.audiences.audit import AuditEntry, Trust, digest, entry_of, examined, sign, verify
from segops.core.audiences.compiling import definition_of
from segops.core.audiences.model import PLAN_VALID_MS, Audience, AudienceRecord, Reach, Signed, State, Step
from segops.core.segments import Definition
from segops.testing import definition

from .helpers import FULL, act, audience, planned

CONSENT = ("consent.{purpose}",)
#: For each key, another value; None: it is left out.
OTHER: dict[str, Any] = {
    "key": "winback-sms",
    "segment": "lapsed",
    "channel": "sms",
    "purpose": "service",
    "suppress": ["unsubscribed"],
    "hold_out": {"salt": "other", "percent": 12.5},
    "frequency": {"at_most": 3, "per": "7d"},
    "existing": None,
    "reasons": {"backfill": "normal", "merge": "normal"},
    "limits": {"members": 60_000},
    "deliver": [{"to": "klaviyo-main", "metric": "Entered"}],
    "properties": None,
}
UNDECISIVE: dict[str, Any] = {
    "alert": {"members": {"at_most": 9}},
    "name": "Other",
    "description": None,
    "goal": {"did": "Lead", "within": "1d"},
}
KEY_A, KEY_B = b"a" * 32, b"b" * 32


def test_tables_have_every_key() -> None:
    assert {*OTHER, *UNDECISIVE} == set(FULL) == set(Audience.__struct_fields__) - {"written"}


@pytest.mark.parametrize("key", OTHER)
def test_meaning_changes_with_each_key_that_decides(key: str) -> None:
    assert meaning_of(audience(**{key: OTHER[key]})) != meaning_of(audience())


@given(st.dictionaries(st.sampled_from(sorted(UNDECISIVE)), st.none()), st.randoms(use_true_random=False))
def test_meaning_is_that_of_the_audience_however_it_is_written(changed: dict[str, Any], random: Any) -> None:
    keys = sorted(FULL)
    random.shuffle(keys)
    shuffled = audience(**{key: FULL[key] for key in keys} | {key: UNDECISIVE[key] for key in changed})
    assert meaning_of(shuffled) == meaning_of(audience())


SEGMENTS = {
    "at-risk": definition("at-risk", {"all": [{"in_segment": "known"}, {"did": "A"}]}),
    "known": definition("known", {"known_for": "1d"}),
    "unsubscribed": definition("unsubscribed", {"trait": "u", "is": {"eq": True}}),
    "unrelated": definition("unrelated", {"did": "Z"}),
}


def in_force(
    found: Audience, consent: tuple[str, ...] = CONSENT, **edited: Definition
) -> dict[str, Definition]:
    own = definition_of(found, consent)
    return {**SEGMENTS, **{key.replace("_", "-"): each for key, each in edited.items()}, own.key: own}


def test_parts_name_all_segments_that_are_referred_to() -> None:
    found = audience()
    assert list(editions_of(found, in_force(found))) == [
        "audience",
        "rule",
        "segment at-risk",
        "segment known",
        "segment unsubscribed",
    ]


@pytest.mark.parametrize("key", SEGMENTS)
def test_edit_of_a_segment_is_named(key: str) -> None:
    found, edited = audience(), msgspec.structs.replace(SEGMENTS[key], version=2)
    changed = differences(
        editions_of(found, in_force(found)), editions_of(found, {**in_force(found), key: edited})
    )
    assert changed == ([] if key == "unrelated" else [f"segment {key} was edited"])


def test_name_and_pause_of_a_segment_are_no_edits() -> None:
    found = audience()
    named = msgspec.structs.replace(SEGMENTS["at-risk"], name="Other", description="x", paused=True)
    assert editions_of(found, in_force(found, at_risk=named)) == editions_of(found, in_force(found))


def test_consent_that_is_asked_for_is_a_part() -> None:
    found = audience()
    editions = (
        editions_of(found, in_force(found)),
        editions_of(found, in_force(found, ("consent.{channel}",))),
    )
    assert differences(*editions) == ["rule was edited"]


def test_segment_that_is_gone_or_new_is_named() -> None:
    found = audience()
    without = {key: each for key, each in in_force(found).items() if key != "known"}
    former = editions_of(found, in_force(found))
    assert differences(former, editions_of(found, without)) == ["segment known is not used any more"]
    assert differences(editions_of(found, without), former) == ["segment known is used"]


# -- status ----------------------------------------------------------------------------------------------


def approved(state: State, *, key: bytes | None = KEY_A, latest_key: bytes | None = KEY_A) -> AudienceRecord:
    """Return an audience that was approved, and is in a state since."""
    approval = AuditEntry(
        "1", "winback-email", 3, "", act(), "approve", "waiting", "active", {"audience": "1"}
    )
    latest = AuditEntry("2", "winback-email", 4, "", act(), "hold", "active", state)
    return AudienceRecord(
        audience(), state, 0, version=4, approval=sign(approval, key), latest=sign(latest, latest_key)
    )


@pytest.mark.parametrize("state", ["active", "held", "paused"])
def test_approval_is_void_once_a_part_was_edited(state: State) -> None:
    record = approved(state)
    editions = Trust([KEY_A]).approved(record)
    assert editions == {"audience": "1"}
    assert status_of(record, {"audience": "1"}, editions, now_ms=0) == (state, ())
    void = status_of(record, {"audience": "2"}, editions, now_ms=0)
    assert (void.state, void.why) == ("draft", "void: audience was edited")


@pytest.mark.parametrize(
    ("record", "keys", "trusted"),
    [
        (approved("held"), (KEY_A,), True),
        (approved("held"), (KEY_B, KEY_A), True),
        (approved("held"), (KEY_B,), False),
        (approved("held", key=None), (KEY_A,), False),
        (approved("held", latest_key=None), (KEY_A,), False),
        (approved("held", key=KEY_B), (KEY_A,), False),
        (approved("held", key=None, latest_key=None), (), True),
        (msgspec.structs.replace(approved("held"), state="active"), (KEY_A,), False),
        (msgspec.structs.replace(approved("held"), version=5), (KEY_A,), False),
        (msgspec.structs.replace(approved("held"), audience=audience(key="other")), (KEY_A,), False),
        (msgspec.structs.replace(approved("held"), approval=approved("held").latest), (KEY_A,), False),
        (msgspec.structs.replace(approved("held"), approval=None), (), False),
        (msgspec.structs.replace(approved("held"), latest=Signed(msgspec.Raw(b"{}"))), (), False),
    ],
)
def test_record_is_trusted_only_with_its_own_signed_entries(
    record: AudienceRecord, keys: tuple[bytes, ...], trusted: bool
) -> None:
    editions = Trust(keys).approved(record)
    assert (editions == {"audience": "1"}) is trusted
    status = status_of(record, {"audience": "1"}, editions, now_ms=0)
    expected = () if trusted else ("its approval is missing or forged",)
    assert (status.state, tuple(status.void)) == (record.state if trusted else "draft", expected)


def test_submission_is_void_by_an_edit_and_by_age() -> None:
    record = AudienceRecord(audience(), "waiting", 0, plan=planned({"audience": "1"}))
    assert status_of(record, {"audience": "1"}, None, now_ms=PLAN_VALID_MS - 1) == ("waiting", ())
    void = status_of(record, {"audience": "2"}, None, now_ms=PLAN_VALID_MS)
    assert (void.state, void.void) == (
        "draft",
        ["audience was edited", "the plan p1 expired at 1970-01-02T00:00:00.000Z"],
    )
    without = msgspec.structs.replace(record, plan=None)
    assert status_of(without, {}, None, now_ms=0).void == ["it has no plan"]


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_reach_has_moved_by_more_than_a_twentieth(planned_: int, later: int) -> None:
    one, two = (Reach((Step("segment", members),), 20_000, 0, 0) for members in (planned_, later))
    assert one.moved(two) is (abs(later - planned_) * 20 > planned_)


# -- audit -------------------------------------------------------------------------------------------------


def chain(number: int, key: bytes | None = KEY_A) -> list[Signed]:
    """Return the entries of an audience, each with the hash of the one before it."""
    found: list[Signed] = []
    for n in range(1, number + 1):
        before = digest(found[-1]) if found else ""
        entry = AuditEntry(str(n), "winback-email", n, before, act(at_ms=n), "plan", "draft", "draft")
        found.append(sign(entry, key))
    return found


def listed(entries: list[Signed]) -> list[tuple[int, str, str]]:
    return [(each.entry.number, each.signature, each.gap) for each in examined(entries, [KEY_A])]


def test_untouched_audit_has_no_gaps() -> None:
    assert listed(chain(3)) == [(1, "signed", ""), (2, "signed", ""), (3, "signed", "")]
    assert {signature for _, signature, _ in listed(chain(3, None))} == {"unsigned"}


def test_entry_that_is_changed_removed_or_repeated_is_found() -> None:
    one, two, three = chain(3)
    changed = msgspec.structs.replace(entry_of(two), note="by nobody")
    assert listed([one, Signed(sign(changed, None).entry, two.signature), three]) == [
        (1, "signed", ""),
        (2, "forged", ""),
        (3, "signed", "does not follow the entry before it"),
    ]
    assert listed([one, three])[1] == (3, "signed", "expected number 2, got 3")
    assert listed([one, two, two])[2] == (2, "signed", "expected number 3, got 2")


@given(st.binary(min_size=1, max_size=64), st.binary(min_size=1, max_size=64), st.text(max_size=20))
def test_only_the_key_that_signed_verifies(key: bytes, other: bytes, note: str) -> None:
    entry = AuditEntry(
        "1", "a", 1, "", act(), "hold", "active", "held", note=note.encode("utf-8", "ignore").decode()
    )
    signed = sign(entry, key)
    assert entry_of(signed) == entry
    assert verify(signed, [key]) == "signed"
    same = key.rstrip(b"\0") == other.rstrip(b"\0")  # HMAC pads keys with zeros
    assert verify(signed, [other]) == ("signed" if same else "forged")
