"""The pages that ask why and what if of a profile: what they answer, and what they refuse."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from segops.api.access import Access
from segops.api.health import Page
from segops.api.profiles import Elsewhere, NotReady
from segops.api.sandbox import SandboxPages, explained
from segops.api.scans import Call
from segops.schemas.sandbox import MAX_EVENTS, SandboxStart
from segops.schemas.state import decode_profile, encode_profile
from segops.testing import Customer

LOCAL = Access(token=None, local=True)
D = 86_400_000


def start(engine: Any = None) -> SandboxStart:
    ann = Customer(
        buyer={"did": "Buy", "within": "1d"},
        named={"has_identifier": "email"},
        rich={"sum": "total", "of": "Buy", "within": "7d", "is": {"gte": 100}},
    )
    ann.did("Buy", 5, total=60)
    ann.wait(10)
    return SandboxStart(ann.engine, encode_profile(ann.profile), 10, {})


START = start()


def find(identifier: str) -> SandboxStart | Elsewhere | None:
    if identifier == "user_id:restored":
        raise NotReady
    return {"user_id:ann": START, "email:ann@x": Elsewhere("user_id:ann", "http://b:6066")}.get(identifier)


def ask(
    kind: str,
    body: Any = None,
    *,
    identifier: str = "user_id%3Aann",
    query: dict[str, str] | None = None,
    method: str | None = None,
    access: Access = LOCAL,
) -> Page:
    async def read() -> bytes | None:
        return body if body is None or isinstance(body, bytes) else json.dumps(body).encode()

    method = method or {"sandbox": "POST", "explanation": "GET"}[kind]
    call = Call(method, f"/profiles/{identifier}/{kind}", query or {}, None, read)
    return asyncio.run(SandboxPages(find, access).page(call))


def test_imaginary_events_and_time_change_memberships_in_order() -> None:
    events = [{"event": "Buy", "properties": {"total": 50}, "timestamp": "1970-01-01T00:00:01Z"}]
    found = ask("sandbox", {"events": events, "until_ms": 8 * D})
    assert (found.status, found.headers) == (200, {"Cache-Control": "no-store"})
    view = json.loads(found.body)
    told = [
        (each["at_ms"], each["action"], each["segment"], each["reason"], each["event"])
        for each in view["changes"]
    ]
    assert told == [
        (1_000, "entered", "rich", "event", 0),
        (1_000 + D, "exited", "buyer", "time", None),
        (7 * D + 5, "exited", "rich", "time", None),
    ]
    assert view["changes"][0]["because"]["value"] == 110
    assert view["changes"][0]["flipped"] == [
        {
            "path": [],
            "label": view["changes"][0]["because"]["label"],
            "was": False,
            "holds": True,
            "value_before": 60,
            "value": 110,
            "threshold": "≥ 100",
        }
    ]
    assert [each["segment_key"] for each in view["before"]] == ["buyer"]
    assert (view["after"], view["now_ms"], view["stopped"]) == ([], 10, None)
    assert decode_profile(START.state).latest_ms == 5


def test_events_may_leave_out_all_but_their_name_and_never_count_as_duplicates() -> None:
    events = [{"event": "Buy", "messageId": "m1", "properties": {"total": 20}}] * 2
    found = json.loads(ask("sandbox", {"events": events}).body)
    assert [(each["segment"], each["event"], each["at_ms"]) for each in found["changes"]] == [("rich", 1, 10)]


def test_an_imaginary_call_may_be_of_any_type() -> None:
    call = {"type": "identify", "traits": {"email": "ann@x"}}
    found = json.loads(ask("sandbox", {"events": [call]}).body)
    assert [each["segment"] for each in found["changes"]] == ["named"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{", "body: "),
        ({"events": [], "until": 5}, "unknown field `until`"),
        ({"events": [{"event": "Buy"}] * (MAX_EVENTS + 1)}, "events: expected at most 100, got 101"),
        ({"events": [{"event": "Buy"}, {"type": "track"}]}, "events[1]: a track call names no event"),
        ({"events": [{"event": "Buy", "timestamp": "soon"}]}, "events[0]: expected an ISO-8601 timestamp"),
        ({"events": [{"event": "B", "properties": {"p": "x" * 50_000}}]}, "events[0]: 50"),
        ({"until_ms": 9}, "until_ms: expected an instant that is not before the present clock"),
        ({"days": 401}, "days: expected 0 to 400, got 401"),
        ({"days": 1, "until_ms": D}, "expected until_ms or days, got both"),
        ({"until_ms": 401 * D}, "until_ms: expected at most 400 days after"),
        ({"until_ms": 5, "events": [{"event": "Buy", "timestamp": "1970-01-01T00:00:01Z"}]}, "until_ms"),
        (None, "expected a body of at most 262,144 bytes"),
    ],
)
def test_invalid_requests_name_the_place(body: Any, text: str) -> None:
    found = ask("sandbox", body)
    assert (found.status, text in found.body.decode()) == (400, True), found.body


def test_an_explanation_is_of_the_memberships_or_of_the_segments_asked_for() -> None:
    found = json.loads(ask("explanation").body)
    assert [(each["segment_key"], each["member"], each["flips_at"]) for each in found["segments"]] == [
        ("buyer", True, D + 5)
    ]
    asked = json.loads(ask("explanation", query={"segments": "rich,unknown"}).body)
    assert [(each["segment_key"], each["rule"]["value"]) for each in asked["segments"]] == [("rich", 60)]
    many = ask("explanation", query={"segments": ",".join(f"s{n}" for n in range(101))})
    assert (many.status, many.body) == (400, b"segments: expected at most 100, got 101\n")


def test_scores_are_shown_if_they_are_asked_for() -> None:
    scored = Customer(idle={"score": "recency_days", "is": {"gte": 30}})
    scored.did("Buy", 5)
    begun = SandboxStart(scored.engine, encode_profile(scored.profile), 10, {})
    (score,) = explained(begun, frozenset(), 30).scores
    assert (score.name, score.value, score.curve[-1]) == ("recency_days", 0, (10 + 30 * D, 30))
    assert score.crossings[0].at_ms == 5 + 30 * D
    assert explained(begun, frozenset()).scores == ()
    assert json.loads(ask("explanation", query={"scores": "30"}).body)["scores"] == []
    for wrong in ("0", "366", "x", ""):
        refused = ask("explanation", query={"scores": wrong})
        assert (refused.status, refused.body[:16]) == (400, b"scores: expected")
    assert ask("sandbox", {"events": []}, query={"scores": "30"}).status == 400


@pytest.mark.parametrize("kind", ["sandbox", "explanation"])
@pytest.mark.parametrize(
    ("identifier", "status"),
    [("user_id%3Abob", 404), ("ann", 400), ("%ff", 400), ("user_id%3Arestored", 503)],
)
def test_profiles_that_cannot_be_shown(kind: str, identifier: str, status: int) -> None:
    assert ask(kind, {}, identifier=identifier).status == status


def test_another_worker_is_named_with_the_same_query() -> None:
    found = ask("explanation", identifier="email%3Aann%40x", query={"segments": "a"})
    assert found.status == 307
    assert found.headers["Location"] == "http://b:6066/profiles/user_id%3Aann/explanation?segments=a"
    assert ask("sandbox", {}, identifier="email%3Aann%40x").headers["Location"].endswith("/sandbox")


def test_profiles_need_the_token_and_the_right_method() -> None:
    assert ask("sandbox", {}, access=Access(token="secret", local=True)).status == 401
    assert ask("explanation", access=Access(token=None, local=False)).status == 403
    assert ask("sandbox", {}, method="GET").headers["Allow"] == "POST"
    assert ask("explanation", method="POST").status == 405
