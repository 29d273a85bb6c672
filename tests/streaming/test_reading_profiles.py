"""Profiles can be read from any worker, which redirects to the owner."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from segops.api.access import Access
from segops.api.profiles import Elsewhere, NotReady, ProfilePages, path_of
from segops.cli import cli
from segops.core.errors import SegopsError, UserError
from segops.core.profile import Profile
from segops.core.segments import SegmentSet
from segops.core.values import format_instant
from segops.core.views.profile import ProfileView, view_profile

from .helpers import START_MS, Sent, Stack, wait_until

SEGMENTS = """
version: 1
segments:
  - key: viewers
    name: Viewers
    when: {did: Viewed, count: {gte: 2}, within: 6h}
"""
MINUTE = 60_000


def look(identifier: str) -> ProfileView | Elsewhere | None:
    if identifier == "user_id:moving":
        raise NotReady
    if identifier == "user_id:far":
        return Elsewhere("user_id:other/one", "http://there:6066")
    profile = Profile(identifier, first_ms=5, latest_ms=9)
    return view_profile(SegmentSet([]), profile, 10) if identifier == "user_id:here" else None


@pytest.mark.parametrize(
    ("identifier", "status"),
    [
        ("user_id:here", 200),
        ("user_id:far", 307),
        ("user_id:none", 404),
        ("here", 400),
        ("user_id:moving", 503),
    ],
)
def test_index_page_lists_the_routes(identifier: str, status: int) -> None:
    page = ProfilePages(look, Access(token=None, local=True)).page(identifier, None)
    assert page.status == status
    assert page.headers.get("Location") == (
        "http://there:6066/profiles/user_id%3Aother%2Fone" if status == 307 else None
    )
    assert ("Retry-After" in page.headers) is (status == 503)
    assert (page.headers.get("Cache-Control") == "no-store") is (status == 200)


@pytest.mark.parametrize(
    ("token", "local", "given", "status"),
    [
        (None, True, None, 200),
        (None, False, None, 403),
        (None, False, "Bearer secret", 403),
        ("secret", True, None, 401),
        ("secret", True, "Bearer wrong", 401),
        ("secret", False, "Bearer secret", 200),
    ],
)
def test_profiles_require_the_token(token: str | None, local: bool, given: str | None, status: int) -> None:
    assert ProfilePages(look, Access(token=token, local=local)).page("user_id:here", given).status == status


def segops_profile(stack: Stack, identifier: str, *, number: int = 0, form: str = "json") -> str:
    url = f"http://127.0.0.1:{stack.port(number)}"
    found = CliRunner().invoke(cli, ["profile", identifier, "--url", url, "--format", form])
    if found.exception is not None:
        raise found.exception
    return found.output


def sent(number: int, minutes: int, **ids: str) -> Sent:
    form = {
        "type": "track",
        "event": "Viewed",
        "messageId": f"m{number}",
        "timestamp": format_instant(START_MS + minutes * MINUTE),
        **ids,
    }
    return Sent(0, json.dumps(form).encode())


ODD = "email:b/%2f?#ö&x@y"


@pytest.mark.broker
@pytest.mark.usefixtures("several_workers")
def test_any_worker_leads_to_the_profile_of_any_identifier(stack: Stack) -> None:
    stack.publish(SEGMENTS)
    stack.start(number=0)
    wait_until(lambda: stack.owned_partitions(0), "the first worker's partitions", stack.diagnosis)
    stack.start(number=1)
    wait_until(
        lambda: (
            len(stack.owned_partitions(0)) + len(stack.owned_partitions(1)) == stack.partitions
            and stack.owned_partitions(1)
        ),
        "both own partitions",
        stack.diagnosis,
    )
    people = range(6)
    events = [sent(n, n, anonymousId=f"a{n}") for n in people]
    events += [sent(100 + n, 30 + n, userId=f"u{n}", anonymousId=f"a{n}") for n in people]
    events.append(
        Sent(
            0,
            events[0].value.replace(b'"anonymousId": "a0"', b'"traits": {"email": "%s"}' % ODD[6:].encode()),
        )
    )
    stack.send(events, final_ms=START_MS + 60 * MINUTE)

    def read(identifier: str, number: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(segops_profile(stack, identifier, number=number))
        return found

    def arrived() -> bool:
        try:
            found = [read(f"user_id:u{n}", 0) for n in people]
        except SegopsError:
            return False
        return all(each["memberships"] and each["now_ms"] >= START_MS + 60 * MINUTE for each in found)

    wait_until(arrived, "all profiles are viewers", stack.diagnosis)
    for n in people:
        known = [read(f"{kind}{n}", number) for kind in ("user_id:u", "anonymous_id:a") for number in (0, 1)]
        assert known == [known[0]] * 4
        assert known[0]["profile_id"] == f"user_id:u{n}"
        assert [each["identifier"] for each in known[0]["identifiers"]] == [
            f"user_id:u{n}",
            f"anonymous_id:a{n}",
        ]
        assert known[0]["identifiers"][1]["event_id"] == f"m{100 + n}"
    assert read(ODD, 0)["profile_id"] == read(ODD.upper().replace("EMAIL", "email"), 1)["profile_id"] == ODD
    tree = segops_profile(stack, "anonymous_id:a1", form="tree")
    assert "viewers (Viewers), version 1: since 2025-10-09T09:24:20.000Z, reason event m101, until" in tree
    assert "anonymous_id:a1: of a profile merged into this one by event m101 at" in tree
    with pytest.raises(SegopsError, match="unknown identifier 'user_id:nobody'"):
        segops_profile(stack, "user_id:nobody", number=1)
    logs = "".join(path.read_text() for path in stack.folder.glob("*.log"))
    assert "user_id" not in logs and "anonymous_id" not in logs


@pytest.mark.broker
def test_command_reports_errors(stack: Stack) -> None:
    with pytest.raises(SegopsError, match="no worker answers at http://127"):
        segops_profile(stack, "user_id:u1")
    with pytest.raises(UserError, match="got 'u1'"):
        segops_profile(stack, "u1")


def test_unusual_identifiers_are_one_path_segment() -> None:
    assert path_of("card:a/b?c#d%") == "/profiles/card%3Aa%2Fb%3Fc%23d%25"
