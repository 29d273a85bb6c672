"""Failures of Meta's Graph API, by whose turn it is: their codes say more than their status.

Sources: Meta's documentation, "Handle Errors", "Marketing API Error Codes", "Rate Limits" (80003: too many
calls about Custom Audiences; 4: of the app; 17: of the user; minutes to wait in
``X-Business-Use-Case-Usage``) and "Custom Audience Users" (100 with 1713230: ``operation_status`` 471).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

import msgspec

from segops.destinations.http import Answer
from segops.destinations.port import DestinationAway, DestinationRefuses

#: Statuses of which the code decides.
BY_BODY: Final = (400, 401, 403, 404)
#: 4, 17, 32, 341 and 613 are limits of the app, the user or a page; from 80000 on, of a use case.
_LIMITS: Final = frozenset([4, 17, 32, 341, 613, *range(80_000, 80_015)])
#: Unknown errors, services that are down, and an audience that could not be updated.
_TEMPORARY: Final = frozenset([1, 2, 2650])
_USAGE: Final = "X-Business-Use-Case-Usage"
_LEAST_WAIT_S: Final = 60.0
_LONGEST_WAIT_S: Final = 3_600.0
_MEANINGS: Final[Mapping[tuple[int, int | None], str]] = {
    (190, None): "the token is invalid, or has expired",
    (100, 33): "the audience does not exist, or the token may not see it",
    (100, 1713230): "Meta has blocked the audience (operation_status 471): appeal in the Audience Manager",
}


class _Error(msgspec.Struct):
    code: int = 0
    error_subcode: int | None = None
    is_transient: bool = False


class _Failure(msgspec.Struct):
    error: _Error


def raise_failure(answer: Answer) -> NoReturn:
    """Raise DestinationAway or DestinationRefuses for an answer that is no success."""
    try:
        error = msgspec.json.decode(answer.body, type=_Failure).error
    except msgspec.DecodeError:
        raise DestinationRefuses(answer.detail) from None
    if error.code in _LIMITS:
        raise DestinationAway(answer.detail, retry_after_s=_wait_s(answer.headers))
    if error.is_transient or error.code in _TEMPORARY:
        raise DestinationAway(answer.detail)
    meaning = _MEANINGS.get((error.code, error.error_subcode)) or _MEANINGS.get((error.code, None))
    raise DestinationRefuses(f"{meaning}: {answer.detail}" if meaning else answer.detail)


def _wait_s(headers: Mapping[str, str]) -> float:
    """Return how long to make no calls: what Meta estimates, or a minute.

    >>> _wait_s({_USAGE: '{"12": [{"type": "custom_audience", "estimated_time_to_regain_access": 3}]}'})
    180.0
    >>> _wait_s({}), _wait_s({_USAGE: '{"12": [{"estimated_time_to_regain_access": 1e9}]}'})
    (60.0, 3600.0)
    """
    try:
        usage = msgspec.json.decode(headers.get(_USAGE, "{}"), type=dict[str, list[dict[str, Any]]])
    except msgspec.DecodeError:
        usage = {}
    found = [each.get("estimated_time_to_regain_access") for of in usage.values() for each in of]
    minutes = max((each for each in found if isinstance(each, int | float)), default=0)
    return float(min(max(minutes * 60, _LEAST_WAIT_S), _LONGEST_WAIT_S))
