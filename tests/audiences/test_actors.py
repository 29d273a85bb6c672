"""Who may act on audiences: names, tokens, four eyes, and what no AI may do."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from segops import config
from segops.core.audiences.audit import AuditEntry, sign
from segops.core.audiences.model import Act, AudienceRecord
from segops.core.audiences.states import TRANSITIONS, Action
from segops.core.errors import UserError
from segops.operations.audiences.actors import NotAllowed, acting, check_may, signed_in

from .helpers import act, audience

TOKEN = "token-of-ann-0123456789"
HASHES = f"ann={hashlib.sha256(TOKEN.encode()).hexdigest()}, ai:drafter={'0' * 64}"
AI = Act("ai:drafter", "ai", True, "segops on shop-1", 0)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, _, _ in config.variables():
        monkeypatch.delenv(name, raising=False)


def settings(**found: Any) -> config.Settings:
    return config.load(audiences=found)


def test_actor_is_named_and_unverified_without_tokens() -> None:
    found = acting(settings(actor="ann"), now_ms=7)
    assert (found.actor, found.origin, found.verified, found.at_ms) == ("ann", "person", False, 7)
    assert found.client.startswith("segops on ")
    assert acting(settings(actor="ai:drafter"), now_ms=7).origin == "ai"
    with pytest.raises(NotAllowed, match="SEGOPS_ACTOR is required"):
        acting(settings(), now_ms=7)


@pytest.mark.parametrize(
    ("actor", "token"),
    [("ann", "other"), ("ann", None), ("bob", TOKEN), ("ai:drafter", TOKEN), ("ai:ann", TOKEN)],
)
def test_token_is_that_of_the_actor(actor: str, token: str | None) -> None:
    assert acting(settings(actor="ann", actor_token=TOKEN, actors=HASHES), now_ms=7).verified
    with pytest.raises(NotAllowed) as refused:
        acting(settings(actor=actor, actor_token=token, actors=HASHES), now_ms=7)
    assert refused.value.actor == actor
    assert TOKEN not in str(refused.value) and "other" not in str(refused.value)


@pytest.mark.parametrize("approval", ["self", "other"])
def test_ai_starts_nothing(approval: str) -> None:
    record = AudienceRecord(audience(), "waiting", 0)
    found = settings(approval=approval, actors=HASHES, audit_key="k" * 32)
    actions: set[Action] = {action for of in TRANSITIONS.values() for action in of}
    refused = set()
    for action in actions:
        try:
            check_may(found, AI, action, record)
        except NotAllowed as error:
            assert "only a person may" in str(error)
            refused.add(action)
    assert refused == {"approve", "release", "resume"}


def test_four_eyes_are_those_of_authors_and_submitter_and_another() -> None:
    record = AudienceRecord(audience(), "waiting", 0, authors=("ann", "cal"), submitted=act("bob"))
    other = settings(approval="other", actors=HASHES, audit_key="k" * 32)
    for actor in ("ann", "cal", "bob"):
        with pytest.raises(NotAllowed, match=f"{actor} may not approve the audience winback-email"):
            check_may(other, act(actor), "approve", record)
        check_may(settings(), act(actor), "approve", record)
        check_may(other, act(actor), "reject", record)
    check_may(other, act("dan"), "approve", record)


def test_four_eyes_do_not_go_by_the_case_of_a_name_and_need_a_proved_one() -> None:
    record = AudienceRecord(audience(), "waiting", 0, authors=("Ann@shop.example",), submitted=act("bob"))
    other = settings(approval="other", actors=HASHES, audit_key="k" * 32)
    for actor in ("ann@shop.example", "BOB"):
        with pytest.raises(NotAllowed, match="having edited or submitted it"):
            check_may(other, act(actor), "approve", record)
    unproved = msgspec.structs.replace(act("dan"), verified=False)
    with pytest.raises(NotAllowed, match="whose name is proved"):
        check_may(other, unproved, "approve", record)


def test_person_who_is_signed_in_acts_under_that_name() -> None:
    found = signed_in(settings(), "ann@shop.example", verified=True, program="console", now_ms=7)
    assert (found.actor, found.origin, found.verified, found.at_ms) == ("ann@shop.example", "person", True, 7)
    assert found.client.startswith("console on ")
    for name in ("ai:drafter", "", " ", "@ann", "ann\n", "ann\u200b", "ann\u202e", "x" * 101):
        with pytest.raises(NotAllowed, match="is no name of a person who acts"):
            signed_in(settings(), name, verified=True, program="console", now_ms=7)
    other = settings(approval="other")
    signed_in(other, "ann", verified=True, program="console", now_ms=7)
    with pytest.raises(NotAllowed, match="SEGOPS_APPROVAL=other requires a login"):
        signed_in(other, "ann", verified=False, program="console", now_ms=7)


def test_name_with_spaces_is_one_name_however_it_is_written() -> None:
    for name in ("Ann O'Brien (Shop)", "Jörg Müller", "李 明"):
        assert signed_in(settings(), name, verified=True, program="console", now_ms=7).actor == name
    for name in ("Jörg  Müller ", "Jo\u0308rg Müller"):
        found = signed_in(settings(), name, verified=True, program="console", now_ms=7)
        assert found.actor == "Jörg Müller"


def test_four_eyes_need_tokens_and_a_key() -> None:
    record = AudienceRecord(audience(), "waiting", 0)
    with pytest.raises(NotAllowed, match=r"requires SEGOPS_ACTORS and SEGOPS_AUDIT_KEY$"):
        check_may(settings(approval="other"), act("dan"), "approve", record)
    with pytest.raises(NotAllowed, match=r"requires SEGOPS_AUDIT_KEY$"):
        check_may(settings(approval="other", actors=HASHES), act("dan"), "approve", record)


def test_signed_audit_is_continued_with_a_key_only() -> None:
    entry = AuditEntry("1", "winback-email", 1, "", act(), "apply", "draft", "draft")
    record = AudienceRecord(audience(), "draft", 0, version=1, latest=sign(entry, b"k" * 32))
    with pytest.raises(NotAllowed, match="SEGOPS_AUDIT_KEY is required: the audit of the audience"):
        check_may(settings(), act("ann"), "hold", record)
    check_may(settings(audit_key="k" * 32), act("ann"), "hold", record)
    check_may(settings(), act("ann"), "hold", msgspec.structs.replace(record, latest=sign(entry, None)))


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("actor", "a b", "expected a name such as"),
        ("actor", "robot:x", "expected a name such as"),
        ("actors", "ann", "expected name=hash pairs"),
        ("actors", "ann=abc", "expected name=hash pairs"),
        ("audit_key", "short", "expected at least 32 characters"),
        ("audit_former_keys", f"{'k' * 32},short", "expected at least 32 characters"),
        ("consent", "a b", "expected paths of traits"),
        ("consent", "consent.{other}", "expected paths of traits"),
        ("consent", "a,,b", "expected paths of traits"),
    ],
)
def test_invalid_setting_is_named_and_not_shown(field: str, value: str, reason: str) -> None:
    with pytest.raises(UserError) as refused:
        settings(**{field: value})
    assert reason in str(refused.value) and value not in str(refused.value)


def test_settings_as_the_code_reads_them() -> None:
    found = settings(
        consent="consent.{purpose}, consent.{channel}", audit_key="a" * 32, audit_former_keys="b" * 32
    ).audiences
    assert found.consents == ("consent.{purpose}", "consent.{channel}")
    assert found.verifying_keys == (b"a" * 32, b"b" * 32)
    assert found.signing_key == b"a" * 32
    none = settings(consent="none").audiences
    assert (none.consents, none.verifying_keys, none.signing_key, none.token_hashes) == ((), (), None, {})
