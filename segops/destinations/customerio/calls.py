"""Calls of the Track API in batches: an answer names failed calls by their index.

Source: Customer.io's OpenAPI document of the Track API, v2: a request of less than 500 KB, a call of at most
32 KB; 207 with ``batch_index``, ``reason``, ``field`` and ``message`` of each call that is invalid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from segops.destinations.customerio.api import BATCH, CustomerIoApi, document_of
from segops.destinations.http import Answer
from segops.destinations.port import DestinationRefuses, Outcome, Refused

_MAX_BYTES: Final = 480_000
_MAX_CALL_BYTES: Final = 32_000
_UNKNOWN: Final = 404
_WORDS: Final = ("reason", "field", "message")


class Call(NamedTuple):
    """A call about a person, by the address of their message."""

    address: str
    body: Mapping[str, Any]


async def carry_out(api: CustomerIoApi, calls: Sequence[Call]) -> dict[str, Outcome]:
    """Make calls; return the outcomes of those that failed. Each may be repeated without harm."""
    failed: dict[str, Outcome] = {}
    for part in batches(calls, failed):
        failed |= await _send(api, part)
    return failed


def batches(calls: Sequence[Call], failed: dict[str, Outcome]) -> Iterator[list[Call]]:
    """Yield calls in batches that fit into a request; note those that fit into none."""
    part: list[Call] = []
    size = 0
    for each in calls:
        length = len(msgspec.json.encode(each.body)) + 1
        if length > _MAX_CALL_BYTES:
            failed[each.address] = Refused(f"expected at most {_MAX_CALL_BYTES} bytes a call, got {length}")
            continue
        if part and size + length > _MAX_BYTES:
            yield part
            part, size = [], 0
        part.append(each)
        size += length
    if part:
        yield part


async def _send(api: CustomerIoApi, calls: Sequence[Call]) -> dict[str, Outcome]:
    """Make the calls of one request. If it is not said which of them failed, they are made in halves."""
    answer = await api.call(BATCH, body=body_of(calls))
    if answer.status == _UNKNOWN:
        raise DestinationRefuses(f"not a server of Customer.io's Track API: {answer.detail}")
    named, is_all = _named_in(answer, calls)
    rest = [each for each in calls if each.address not in named]
    if is_all or not rest:
        return named
    if len(rest) == 1 == len(calls):
        return {rest[0].address: Refused(answer.detail)}
    half = (len(rest) + 1) // 2
    first = await _send(api, rest[:half])
    return named | first | (await _send(api, rest[half:]) if rest[half:] else {})


def body_of(calls: Sequence[Call]) -> dict[str, Any]:
    """Return the body of a request."""
    return {"batch": [each.body for each in calls]}


def _named_in(answer: Answer, calls: Sequence[Call]) -> tuple[dict[str, Outcome], bool]:
    """Return the calls that an answer names as invalid, and whether all others were taken."""
    if not answer.is_accepted:
        return {}, False
    named: dict[str, Outcome] = {}
    unplaced = 0
    for each in document_of(answer).get("errors") or ():
        index = each.get("batch_index") if isinstance(each, dict) else None
        if isinstance(index, int) and 0 <= index < len(calls):
            words = " ".join(str(each[name]) for name in _WORDS if each.get(name))
            named[calls[index].address] = Refused(answer.shown(words))
        else:
            unplaced += 1
    return named, unplaced == 0
