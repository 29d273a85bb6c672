"""Which worker answers for a profile: its own page, or the address of the one that has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote

from segops.api.health import Page
from segops.api.profiles import elsewhere, profile_page, refusal, view
from segops.config import Settings
from segops.core.links import is_blank
from segops.streaming.lane import SegmentLane
from segops.streaming.records import partition_of


class ProfilePages:
    """Answers for the profiles of ``lanes``, and points to the owners of others.

    ``owners``: the address of each worker -> its topics and their partitions, as the group has agreed.
    """

    def __init__(
        self, settings: Settings, lanes: Callable[[], Mapping[int, SegmentLane]], owners: Callable[[], Any]
    ) -> None:
        self._partitions = settings.topics.partitions
        self._changelog = settings.worker.changelog
        self._served = settings.worker.web_profiles == "on" or (
            settings.worker.web_profiles == "auto" and is_loopback(settings.worker.web_host)
        )
        self._lanes = lanes
        self._owners = owners

    def get(self, identifier: str) -> Page:
        """The profile of an identifier, or where to ask: 403, 404 and 503 where there is nothing to say."""
        if not self._served:
            return refusal(403, "profiles are not shown here: see SEGOPS_WEB_PROFILES")
        number = partition_of(identifier.encode(), self._partitions)
        lane = self._lanes().get(number)
        if lane is None:
            return self._owner(number, identifier)
        profile = lane.look(identifier)
        if profile is None or (is_blank(profile) and profile.merged_into is None):
            return refusal(404, f"there is no profile {identifier}")
        if profile.merged_into is not None:
            return elsewhere(_path(profile.merged_into))
        if profile.judged_by != lane.segments.version:
            return refusal(503, "new definitions are in force, and the profile is not judged by them yet")
        return profile_page(view(profile, lane.segments, lane.clock.now_ms))

    def _owner(self, number: int, identifier: str) -> Page:
        for address, topics in self._owners().items():
            if number in topics.get(self._changelog, ()):
                return elsewhere(str(address).rstrip("/") + _path(identifier))
        return refusal(503, f"nobody has partition {number} at present")


def _path(identifier: str) -> str:
    return f"/profiles/{quote(identifier, safe='')}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
