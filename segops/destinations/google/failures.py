"""Refusals of the Data Manager API: of single records, or of all.

Source: Google's documentation of the Data Manager API, "Understand API errors" (``google.rpc.BadRequest``
with ``fieldViolations``, whose ``reason`` is one of ``ErrorReason``). RudderStack's integration: a list of
another type is reported at the first record, so the reason decides and not the field alone.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from segops.destinations.http import Answer
from segops.destinations.port import DestinationRefuses

_RECORD: Final = re.compile(r"audience_?[mM]embers(?:\.audience_?[mM]embers)?\[(\d{1,6})\]")
#: Reasons that are about one record; all others are about the list, the account or the request.
_OF_RECORDS: Final = frozenset(
    [
        "INVALID_AUDIENCE_MEMBER",
        "INVALID_FORMAT",
        "INVALID_HEX_ENCODING",
        "INVALID_SHA256_FORMAT",
        "TOO_MANY_USER_IDENTIFIERS",
    ]
)


class _Violation(msgspec.Struct):
    field: str = ""
    reason: str = ""


class _Detail(msgspec.Struct, rename="camel"):
    field_violations: list[_Violation] = []


class _Error(msgspec.Struct):
    details: list[_Detail] = []


class _Failure(msgspec.Struct):
    error: _Error


def refused_records(answer: Answer, count: int) -> dict[int, str]:
    """Return why single records of a request with ``count`` of them are refused, by their place.

    Raises DestinationRefuses if the answer says anything else.
    """
    try:
        details = msgspec.json.decode(answer.body, type=_Failure).error.details
    except msgspec.DecodeError:
        raise DestinationRefuses(answer.detail) from None
    violations = [each for detail in details for each in detail.field_violations]
    found: dict[int, str] = {}
    for each in violations:
        place = _RECORD.search(each.field)
        if place is None or each.reason not in _OF_RECORDS or int(place[1]) >= count:
            raise DestinationRefuses(f"{each.reason or 'refused'}: {answer.detail}")
        found[int(place[1])] = each.reason
    if not found:
        raise DestinationRefuses(answer.detail)
    return found
