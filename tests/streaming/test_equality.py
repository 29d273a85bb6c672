"""Two workers on several partitions publish the same changes as replay in one process."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from segops.brokers import LocalBroker
from segops.core.errors import DefinitionError
from segops.core.rules.analysis import lint
from segops.core.rules.parsing import Context, read_rfm, read_rule
from segops.core.segments import SegmentSet
from segops.core.values import format_instant, parse_instant
from segops.replay import Replay
from segops.schemas.changes import encode_change
from tests.rest import rest

from ..core.strategies import BASE_MS, RFM, rules, streams
from ..core.strategies_areas import PLACES, area_context
from ..core.strategies_lookups import LOOKUPS, POSTAL_CODES
from ..shared_broker import delete_topics
from .helpers import Sent, Stack, comparable, wait_until

UNTIL_MS = BASE_MS + 600_000
WALL_MS = 2_000_000_000_000
PARTITIONS = 4


def _segment_file(forms: list[dict[str, Any]]) -> str:
    segments = [{"key": f"s{number}", "when": form} for number, form in enumerate(forms)]
    blocks = {"rfm": RFM, "places": PLACES, "lookups": LOOKUPS, "postal_codes": POSTAL_CODES}
    return json.dumps({"version": 1, **blocks, "segments": segments})


def _accepted(form: dict[str, Any]) -> bool:
    """Return whether a rule can be published: no part of it is contradictory."""
    grid = read_rfm(RFM, "rfm", Context("equality"))
    try:
        return not lint(read_rule(form, "when", area_context("equality", grid)), "when").never
    except DefinitionError:
        return False


def _sent(people: list[list[tuple[str, Any]]]) -> list[Sent]:
    """Return all users' events in time order; users are identified by user id, email or anonymous id."""
    made = []
    for number, steps in enumerate(people):
        for event in (arg for kind, arg in steps if kind == "event"):
            form = {
                "type": "track",
                "event": event.name,
                "messageId": f"{number}-{event.message_id}",
                "timestamp": format_instant(event.time_ms),
                "properties": event.properties,
                **_who(number),
            }
            traits = {**(event.traits or {}), **_mail(number)}
            if traits:
                form["context"] = {"traits": traits}
            made.append((event.time_ms, Sent(number % PARTITIONS, json.dumps(form).encode())))
    return [sent for _, sent in sorted(made, key=lambda pair: pair[0])]


def _who(number: int) -> dict[str, Any]:
    known: list[dict[str, Any]] = [{"userId": f"u{number}"}, {"anonymousId": f"a{number}"}, {}]
    return known[number % len(known)]


def _mail(number: int) -> dict[str, Any]:
    return {} if _who(number) else {"email": f"p{number}@shop.example"}


def _end_ms(sent: list[Sent]) -> int:
    """Return the time up to which every source is complete: that of the latest event, or later."""
    times = (parse_instant(json.loads(each.value)["timestamp"]) for each in sent)
    return max([UNTIL_MS, *(each or 0 for each in times)])


def _replayed(segments: SegmentSet, sent: list[Sent]) -> dict[str, dict[str, Any]]:
    replay = Replay(segments, wall_ms=WALL_MS)
    changes = [change for event in sent for change in replay.feed(event.value, default_id="")]
    changes += replay.advance(_end_ms(sent))
    return {change.change_id: comparable(encode_change(change, 0)) for change in changes}


def _both_own_partitions(stack: Stack) -> bool:
    first, second = stack.owned_partitions(0), stack.owned_partitions(1)
    return bool(first and second) and len(first) + len(second) == PARTITIONS


@pytest.mark.broker
@rest
@settings(
    max_examples=3,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
@given(
    forms=st.lists(rules().filter(_accepted), min_size=4, max_size=8),
    people=st.lists(streams(), min_size=6, max_size=12),
)
def test_two_workers_publish_what_replay_computes(
    broker: LocalBroker,
    guarantee: str,
    tmp_path_factory: pytest.TempPathFactory,
    forms: list[dict[str, Any]],
    people: list[list[tuple[str, Any]]],
) -> None:
    note(_segment_file(forms))
    name = f"t{uuid4().hex[:10]}."
    stack = Stack(broker.bootstrap_servers, name, tmp_path_factory.mktemp("equality"), partitions=PARTITIONS)
    stack.guarantee = guarantee
    try:
        stack.publish(_segment_file(forms))
        for worker in (0, 1):
            stack.start(number=worker)
        # Both own partitions before events are sent: otherwise the first could process them all alone.
        wait_until(lambda: _both_own_partitions(stack), "both own partitions", stack.diagnosis)
        sent = _sent(people)
        stack.send(sent, final_ms=_end_ms(sent))
        stack.wait_for_changes(_replayed(SegmentSet(stack.definitions), sent))
    finally:
        stack.close()
    # Stopped workers have published all their changes.
    assert stack.changes() == _replayed(SegmentSet(stack.definitions), sent)
    delete_topics(broker, name)
