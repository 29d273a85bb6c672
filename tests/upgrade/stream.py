"""The events of the upgrade test: the former version processes the first part, this one the rest."""

from __future__ import annotations

import json
import random
from typing import Any

from segops.core.segments import Definition, SegmentSet
from segops.core.values import format_instant
from segops.replay import Replay
from segops.schemas.changes import encode_change

from ..faults.load import BASE_MS, LONGEST_UNITS, UNIT_MS, segment_text
from ..streaming.helpers import Sent, comparable

PARTITIONS = 3
EVENTS = 900
#: The number of events whose changes the former version published, that were sent to it, and that are in
#: the topic when this version starts.
PUBLISHED, APPLIED, WRITTEN = 300, 400, 550
WALL_MS = 2_000_000_000_000
STEP_MS = 2_000
FINAL_MS = BASE_MS + EVENTS * STEP_MS + (LONGEST_UNITS + 4) * UNIT_MS["event"]
#: Application -> the processing guarantee with which its topics and stores were written.
GUARANTEES = {"alo.": "at_least_once", "eos.": "exactly_once"}

_NAMES = ["Product Viewed"] * 5 + ["Product Added"] * 2 + ["Order Completed"] * 2 + ["identify"]


def segments() -> str:
    """Return segments that use every kind of node."""
    return segment_text("event")


def stream() -> list[Sent]:
    """Return events in order of time, one partition per person; some visitors log in half-way."""
    dice = random.Random(20261126)
    sent = []
    for number in range(EVENTS):
        user = dice.randrange(24)
        form = {**_form(dice, number), **_who(user, number)}
        form["timestamp"] = format_instant(BASE_MS + number * STEP_MS)
        sent.append(Sent(user % PARTITIONS, json.dumps(form).encode()))
    return sent


def _form(dice: random.Random, number: int) -> dict[str, Any]:
    name = dice.choice(_NAMES)
    form: dict[str, Any] = {"type": "identify"} if name == "identify" else {"type": "track", "event": name}
    form["messageId"] = f"m{number}"
    form["properties"] = {"total": dice.randrange(10, 200), "product": f"p{dice.randrange(6)}"}
    if name == "identify":
        form["traits"] = {"plan": dice.choice(["pro", "free", None])}
    if dice.random() < 0.1:
        form["context"] = {"location": {"latitude": dice.choice([48.85, 45.0]), "longitude": 2.35}}
    return form


def _who(user: int, number: int) -> dict[str, Any]:
    """Return a known, e-mailed or anonymous person; every fourth visitor logs in at its own time."""
    match user % 4:
        case 0:
            return {"anonymousId": f"a{user}"}
        case 1:
            return {"userId": f"u{user}"}
        case 2:
            return {"traits": {"email": f"p{user}@shop.example"}, "type": "identify"}
    login = 100 + 30 * user
    if number < login:
        return {"anonymousId": f"a{user}"}
    return {"userId": f"u{user}", "anonymousId": f"a{user}"}


def expected(
    definitions: list[Definition], sent: list[Sent], *, until_ms: int = 0
) -> dict[str, dict[str, Any]]:
    """Return the changes that the engine alone derives from these events, by change id."""
    replay = Replay(SegmentSet(definitions), wall_ms=WALL_MS)
    changes = [change for event in sent for change in replay.feed(event.value, default_id="")]
    changes += replay.advance(until_ms)
    return {change.change_id: comparable(encode_change(change, 0)) for change in changes}
