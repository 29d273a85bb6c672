"""Who entered which arm of an audience, and reached its goal, counted from the raw events alone.

The segment of the audience is who has visited in the last two hours, the goal an order within three hours;
half of the people are held out, with the salt ``s``. Pairs of an anonymous and a known id are one person from
an ``identify`` on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from segops.core.audiences.arms import ArmName
from segops.core.audiences.lift import Arm

HOUR_MS: Final = 3_600_000
WINDOW_MS, VISIT_MS = 3 * HOUR_MS, 2 * HOUR_MS


class Customer:
    """A profile by its raw events: its visits and orders, and since when it is in which arm."""

    def __init__(self, profile_id: str) -> None:
        hashed = hashlib.sha256(f"s:{profile_id}".encode()).digest()
        held_out = int.from_bytes(hashed[:8], "big") % 10_000 < 5_000
        self.own: ArmName = "held_out" if held_out else "sent"
        self.visited_ms = -VISIT_MS
        self.orders: list[int] = []
        self.since: dict[ArmName, int] = {}
        self.entries: list[tuple[int, ArmName]] = []
        self.into: tuple[int, Customer] | None = None
        self.sources: list[tuple[int, Customer]] = []
        self.linked = False

    def until(self, arm: ArmName) -> int:
        """Return when the profile leaves an arm, if it does nothing more."""
        if arm not in self.since:
            return 0
        stay = self.since[arm] + WINDOW_MS + 1
        return max(stay, self.visited_ms + VISIT_MS) if arm == self.own else stay

    def visit(self, at_ms: int) -> None:
        if at_ms >= self.until(self.own):
            self.since[self.own] = at_ms
            self.entries.append((at_ms, self.own))
        self.visited_ms = at_ms

    def merge_into(self, other: Customer, at_ms: int) -> None:
        arms: tuple[ArmName, ...] = ("sent", "held_out")
        now = {arm: [each.since[arm] for each in (self, other) if at_ms < each.until(arm)] for arm in arms}
        self.into, self.linked = (at_ms, other), any(at_ms < self.until(arm) for arm in arms)
        other.sources.append((at_ms, self))
        other.visited_ms = max(self.visited_ms, other.visited_ms)
        other.since = {arm: min(since) for arm, since in now.items() if since}
        if at_ms < other.visited_ms + VISIT_MS:
            other.since.setdefault(other.own, at_ms)

    def ordered(self, after_ms: int, until_ms: int) -> bool:
        """Return whether the person ordered, as far as it was known by ``until_ms`` who they are."""
        if self.into is not None and self.into[0] <= until_ms:
            return self.into[1].ordered(after_ms, until_ms)
        orders = [*self.orders]
        for joined_ms, source in self.sources:
            orders += source.orders if joined_ms <= until_ms else []
        return any(after_ms < at_ms <= until_ms for at_ms in orders)


def expected(events: Iterable[tuple[int, str, int]], clock_ms: int) -> dict[ArmName, Arm]:
    """Return the arms. An event: its instant, a name, the number of a pair of an anonymous and a known id."""
    people: dict[tuple[str, int], Customer] = {}

    def of(kind: str, number: int) -> Customer:
        return people.setdefault((kind, number), Customer(f"{kind}:c{number}"))

    for at_ms, name, number in events:
        if name == "identify":
            anonymous, known = of("anonymous_id", number), of("user_id", number)
            if anonymous.into is None:
                anonymous.merge_into(known, at_ms)
            continue
        who = of(name.split()[0], number)
        who = who if who.into is None else who.into[1]
        if name.endswith("Visited"):
            who.visit(at_ms)
        else:
            who.orders.append(at_ms)
    found = {"sent": [0, 0, 0], "held_out": [0, 0, 0]}
    for customers in _grouped(people):
        entries = [(at_ms, arm, each) for each in customers for at_ms, arm in each.entries]
        if not entries:
            continue
        at_ms, arm, who = min(entries, key=lambda entry: entry[0])
        matured = at_ms + WINDOW_MS <= clock_ms
        found[arm][0] += not matured
        found[arm][1] += matured
        found[arm][2] += matured and who.ordered(at_ms, at_ms + WINDOW_MS)
    return {
        name: Arm(open=found[name][0], matured=found[name][1], converted=found[name][2])
        for name in ("sent", "held_out")
    }


def _grouped(people: dict[tuple[str, int], Customer]) -> list[list[Customer]]:
    """Return the profiles that are counted together: a merge is known while one of the two is in an arm."""
    joined = {id(each): each.into[1] for each in people.values() if each.into is not None and each.linked}
    groups: dict[int, list[Customer]] = {}
    for each in people.values():
        groups.setdefault(id(joined.get(id(each), each)), []).append(each)
    return list(groups.values())
