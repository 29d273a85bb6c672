"""Who failed, as an answer of Iterable says it: a 2xx status does not mean that all users were taken.

Sources: ``UserBulkUpdateListResponse`` and ``BulkTrackResponse`` of Iterable's own client; the further names
in ``failedUpdates`` are those that RudderStack's integration reads. What ``failedEmails`` means is
unverified against the service: such users are tried again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from segops.destinations.port import Later, Outcome, Refused

#: Users of whom it is only said that they failed.
_UNCLEAR: Final = ("failedEmails", "failedUserIds")
_AGAIN_S: Final = 60.0
#: Of users that Iterable does not know, or cannot know, nothing is left to remove.
ABSENT: Final = frozenset(
    f"{cause}{kind}" for cause in ("notFound", "forgotten", "invalid") for kind in ("Emails", "UserIds")
)


def failures_of(answer: Mapping[str, Any], *, by_email: bool) -> dict[str, str]:
    """Return, by address, the list of an answer that names a user.

    >>> failures_of({"failedUpdates": {"forgottenEmails": ["Ann@Shop.example"]}}, by_email=True)
    {'ann@shop.example': 'forgottenEmails'}
    """
    return {
        address.strip().lower() if by_email else address: name
        for source in (answer, answer.get("failedUpdates") or {})
        for name, address in _named(source)
    }


def _named(source: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, values in source.items():
        if name.endswith(("Emails", "UserIds")) and isinstance(values, list):
            yield from ((name, each) for each in values if isinstance(each, str))


def outcome_of(name: str) -> Outcome:
    """Return what has come of a message whose user is in this list of an answer."""
    if name in _UNCLEAR:
        return Later(name, _AGAIN_S)
    return Refused(name)
