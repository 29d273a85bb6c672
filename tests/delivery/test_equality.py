"""After any changes, crashes and refusals, a destination knows exactly the members at their addresses."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from segops.core.audiences.model import Audience
from segops.core.audiences.model import Delivery as Deliver
from segops.core.delivery.deciding import Terms, accepted, answered, decide, refused, tried
from segops.core.delivery.messages import Message, Person
from segops.core.delivery.model import DEAD, Delivery, Entry, Target, Told, delivery_of
from segops.core.delivery.routing import Delivering, Routed, forget_exits, steps, take
from segops.core.events import Change, change_id
from segops.schemas.delivery import (
    decode_routed,
    decode_target,
    decode_told,
    encode_routed,
    encode_target,
    encode_told,
)

PROFILES = [f"user_id:{name}" for name in "abcd"]
EMAILS = ["ann@shop.example", "bob@shop.example", "cid@shop.example"]
AUDIENCE = Audience("winback", "at-risk", "email", existing="send", deliver=(Deliver("crm"), Deliver("hook")))
TERMS = Terms(AUDIENCE, 0)
ADDRESSES = {"crm": lambda person: person.email, "hook": lambda person: person.profile_id}
DELIVERINGS = {
    f"{name}|winback": Delivering(Delivery(name, "winback"), AUDIENCE, address_of)
    for name, address_of in ADDRESSES.items()
}
Place = tuple[str, str, str]


class Destination:
    """Takes messages by their ids, and lists the members' addresses."""

    def __init__(self) -> None:
        self.members: set[str] = set()

    def take(self, message: Message) -> None:
        if message.action == "exited":
            self.members.discard(message.address)
        elif message.action == "entered":
            self.members.add(message.address)


class Deliveries(RuleBasedStateMachine):
    """The topics hold the latest record per key, as after compaction."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 1
        self.sequences = dict.fromkeys(PROFILES, 0)
        self.rows: dict[str, Change] = {}  # the state topic
        self.routes: dict[str, bytes] = {}  # what the router knows of a profile
        self.targets: dict[Place, bytes] = {}
        self.told: dict[tuple[str, str], bytes] = {}
        self.entries: dict[tuple[str, str], Entry] = {}
        self.destinations = {name: Destination() for name in ADDRESSES}

    # -- what happens to people ------------------------------------------------------------------------

    @rule(profile=st.sampled_from(PROFILES), member=st.booleans(), email=st.sampled_from(EMAILS))
    def change(self, profile: str, member: bool, email: str) -> None:
        self.sequences[profile] += 1
        self.now_ms += 1
        sequence = self.sequences[profile]
        row = Change(
            profile,
            "audience.winback",
            1,
            "entered" if member else "exited",
            member,
            "event",
            self.now_ms,
            self.now_ms,
            sequence,
            change_id(profile, "audience.winback", sequence),
            None,
            None,
            profile,
            None,
            email,
            "{}",
        )
        self.rows[profile] = row
        self.route(profile, row)

    @rule(profile=st.sampled_from(PROFILES))
    def erase(self, profile: str) -> None:
        self.rows.pop(profile, None)
        self.route(profile, None)

    def route(self, profile: str, row: Change | None) -> None:
        routed = decode_routed(self.routes.get(profile))
        routed.changes = {} if row is None else {"winback": row}
        self.step(profile, routed)

    def step(self, profile: str, routed: Routed) -> None:
        for each in [*steps(routed, DELIVERINGS)]:
            take(routed, each)
            value, headers = encode_target(each.target)
            place = (each.delivery.destination, each.address, profile)
            if value is None:
                self.targets.pop(place, None)
            else:
                self.targets[place] = value
            of = (each.delivery.destination, each.address)
            self.entries.setdefault(of, Entry()).take(profile, decode_target(value, headers))
        forget_exits(routed)
        self.routes[profile] = encode_routed(routed)

    # -- crashes ---------------------------------------------------------------------------------------

    @rule()
    def restart_the_router(self) -> None:
        """Of its state only the routes are left; all rows are read again."""
        for profile in PROFILES:
            known = decode_routed(self.routes.get(profile))
            row = self.rows.get(profile)
            self.step(profile, Routed({} if row is None else {"winback": row}, {}, known.routes))

    @rule()
    def restart_the_shards(self) -> None:
        self.entries = {}
        for (destination, address, profile), value in self.targets.items():
            entry = self.entries.setdefault((destination, address), Entry())
            entry.take(profile, decode_target(value, ()))
        for of, value in self.told.items():
            self.entries.setdefault(of, Entry()).told = decode_told(value)

    # -- telling ---------------------------------------------------------------------------------------

    @rule(outcome=st.sampled_from(["accepted", "refused", "lost", "away"]), data=st.data())
    def tell(self, outcome: str, data: Any) -> None:
        if not self.entries:
            return
        of = data.draw(st.sampled_from(sorted(self.entries)))
        self.tell_one(of, outcome)

    def tell_one(self, of: tuple[str, str], outcome: str) -> bool:
        """Tell what is due at an address; return whether anything was."""
        entry = self.entries[of]
        message = decide(entry, of[1], TERMS, now_ms=self.now_ms)
        if message is None:
            return False
        assert isinstance(message, Message)
        before = msgspec.structs.replace(entry)
        self.write(of, tried(message, entry, self.now_ms))
        if outcome in ("accepted", "lost"):
            self.destinations[of[0]].take(message)
        if outcome in ("accepted", "refused"):
            done = accepted(message, entry, self.now_ms)
            if outcome == "refused":
                done = refused(message, before, self.now_ms, why=DEAD, detail="no")
            self.write(of, done)
        return True

    def write(self, of: tuple[str, str], told: Told | None) -> None:
        self.entries[of].told = told
        value = encode_told(told)
        if value is None:
            self.told.pop(of, None)
        else:
            self.told[of] = value

    @rule()
    def answer_what_was_refused(self) -> None:
        for of, entry in self.entries.items():
            told = entry.told
            if told is not None and told.skipped == DEAD:
                self.write(of, answered(told, "retry"))

    # -- what must hold --------------------------------------------------------------------------------

    @invariant()
    def nothing_is_known_of_the_erased(self) -> None:
        known = {profile for _, _, profile in self.targets}
        assert known <= self.rows.keys()

    def teardown(self) -> None:
        self.answer_what_was_refused()
        for of in [*self.entries]:
            while self.tell_one(of, "accepted"):
                pass
        for name, destination in self.destinations.items():
            persons = (Person(row.profile_id, email=row.email) for row in self.rows.values() if row.member)
            assert destination.members == {ADDRESSES[name](person) for person in persons}
        assert all(entry.is_over or entry.targets for entry in self.entries.values())


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(max_examples=150, stateful_step_count=40)


def test_a_delivery_reads_as_it_is_written() -> None:
    delivery = Delivery("crm", "winback")
    assert delivery_of(str(delivery)) == delivery


def test_the_address_of_a_member_who_moves_is_left() -> None:
    row = Change(
        "p", "audience.winback", 1, "entered", True, "event", 5, 5, 1, "c1", None, None, "u", None, "a@x", ""
    )
    routed = Routed({"winback": row})
    first = [*steps(routed, DELIVERINGS)]
    assert [(each.delivery.destination, each.address) for each in first] == [("crm", "a@x"), ("hook", "p")]
    for each in first:
        take(routed, each)
    routed.changes["winback"] = msgspec.structs.replace(row, email="b@x", change_id="c2")
    found = [(each.delivery.destination, each.address, each.target) for each in steps(routed, DELIVERINGS)]
    assert [
        (name, address, isinstance(target, Target) and target.member) for name, address, target in found
    ] == [
        ("crm", "a@x", False),
        ("crm", "b@x", True),
        ("hook", "p", True),
    ]
