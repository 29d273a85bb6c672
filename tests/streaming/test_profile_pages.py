"""Profiles of a running system, asked for at any worker."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from segops.config import load
from segops.core.engine import Engine
from segops.core.profile import Links, Profile
from segops.core.segments import SegmentSet
from segops.schemas.state import encode_profile
from segops.stores.base import Write
from segops.stores.memory import MemoryStores
from segops.streaming.lane import SegmentLane, Start
from segops.streaming.owners import ProfilePages
from segops.streaming.records import partition_of
from segops.streaming.reports import Outlet

from .kit import Stack, wait_until
from .test_identity import SEGMENTS, Story
from .test_lane import clock

ENGINE = Engine(SegmentSet([]))
PARTITIONS = 2


def pages(*profiles: Profile, owners: Any = None, **worker: str) -> ProfilePages:
    """Those of a worker that has partition 0."""
    store = MemoryStores().open(0)
    store.write([Write(each.id, encode_profile(each)) for each in profiles], {})
    lane = SegmentLane(store, ENGINE, start=Start(0, clock(), since_ms=0), outlet=Outlet())
    settings = load(topics={"partitions": PARTITIONS, "prefix": "t."}, worker={"app_id": "t", **worker})
    return ProfilePages(settings, lambda: {0: lane}, lambda: owners or {})


def named(number: int, partition: int = 0) -> str:
    """The ``number``-th user of a partition."""
    names = (f"user_id:{each}" for each in range(1_000))
    return [name for name in names if partition_of(name.encode(), PARTITIONS) == partition][number]


def judged(profile_id: str, **fields: Any) -> Profile:
    return Profile(profile_id, judged_by=ENGINE.version, **fields)


def test_a_profile_tells_its_identifiers_and_where_they_are_from() -> None:
    me = named(0)
    links = Links([me, "email:e", "anonymous_id:a"], {"anonymous_id:b": False}, absorbed={"email:e": 3})
    page = pages(judged(me, first_ms=5, latest_ms=7, links=links, traits={"plan": "pro"})).get(me)
    assert page.status == 200
    found = json.loads(page.body)
    assert [(each["identifier"], each["origin"]) for each in found["identifiers"]] == [
        (me, "id"),
        ("email:e", "merged"),
        ("anonymous_id:a", "met"),
        ("anonymous_id:b", "claimed"),
    ]
    assert (found["traits"], found["first_ms"], found["latest_ms"]) == ({"plan": "pro"}, 5, 7)


def test_a_redirect_points_to_the_profile_and_another_partition_to_its_owner() -> None:
    owners = {"http://other:1/": {"t-profiles-changelog": [1]}}
    asked = pages(judged(named(1), merged_into="user_id:a b/c"), owners=owners)
    assert asked.get(named(1))[::3] == (307, "/profiles/user_id%3Aa%20b%2Fc")
    there = asked.get(named(0, partition=1))
    assert there.status == 307
    assert there.location == f"http://other:1/profiles/{named(0, partition=1).replace(':', '%3A')}"


def test_where_there_is_nothing_to_say_it_says_why() -> None:
    assert pages().get(named(0)).status == 404
    assert pages().get(named(0, partition=1)).status == 503
    assert pages(Profile(named(0), judged_by="others", first_ms=1)).get(named(0)).status == 503


@pytest.mark.parametrize(
    ("host", "setting", "status"),
    [("127.0.0.1", "auto", 200), ("0.0.0.0", "auto", 403), ("0.0.0.0", "on", 200), ("::1", "off", 403)],
)
def test_profiles_are_shown_where_only_this_machine_asks(host: str, setting: str, status: int) -> None:
    me = judged(named(0), first_ms=1, latest_ms=1)
    assert pages(me, web_host=host, web_profiles=setting).get(me.id).status == status


@pytest.mark.broker
def test_any_worker_can_be_asked_for_any_profile(stack: Stack) -> None:
    stack.publish(SEGMENTS)
    story = Story(stack)
    for number in (0, 1):
        stack.start(number=number)
    wait_until(lambda: stack.owned(0) and stack.owned(1), "both own some", stack.diagnosis)
    for number in range(6):
        story.event("Product Viewed", f"a{number}")
        story.event("Product Viewed", f"u{number} a{number}", traits={"plan": "gold"}, type="identify")
    story.tell()
    for number in range(6):
        line = [
            sys.executable,
            "-c",
            "from segops.cli import main; main()",
            "profile",
            f"anonymous_id:a{number}",
        ]
        worker = f"http://127.0.0.1:{stack.port(number % 2)}"
        found = subprocess.run(
            [*line, "--worker", worker], capture_output=True, text=True, timeout=60, check=True
        ).stdout
        assert f"user_id:u{number}" in found and "  id\n" in found
        assert 'plan: "gold"' in found
        assert "✓ gold" in found
    done = subprocess.run(
        [*line[:-1], "user_id:nobody", "--worker", worker],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "no profile" in done.stderr) == (2, True)
