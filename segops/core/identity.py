"""One profile per person: which identifiers are one, agreed on by profiles that only send messages.

What is stored under an identifier is a profile or a redirect to one. An event goes to the first of its
identifiers; the profile there claims every other one that it does not know, and holds its events until the
owner has handed itself over, asked it to join, or refused. Held events are then applied as if the answer
had been there before them. Each step is a function of what is stored under one identifier and of what
arrived there: it changes the profile in place and says what to publish and to send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from segops.core.engine import Engine, Transition, message_hash
from segops.core.events import Change, Event
from segops.core.identifiers import Rules, aliases_of, identifiers_of, is_user, type_of
from segops.core.links import (
    absorb,
    begin_waiting,
    end_waiting,
    is_blank,
    is_waiting,
    links_of,
    own,
    refuse,
    standing_ms,
)
from segops.core.merge import redirect
from segops.core.messages import Claim, Forward, Handover, Join, Message, Refused
from segops.core.profile import Held, Profile

#: Events that wait for an answer at most; further ones are applied at once.
MAX_HELD = 1_000
#: A message is forwarded at most this often; it guards against a loop that there should never be.
MAX_HOPS = 1_000


class Outcome(msgspec.Struct, gc=False):
    """What one step did. ``counts``: joined, limit, conflict, overflow, unheld, duplicate, gave_up."""

    changes: list[Change] = []
    messages: list[Message] = []
    counts: dict[str, int] = {}
    skipped_values: int = 0
    failures: list[str] = []

    def add(self, transition: Transition) -> None:
        """Take in what the engine did."""
        self.changes += transition.changes
        self.skipped_values += transition.skipped_values
        self.failures += transition.failures
        if transition.duplicate:
            self.count("duplicate")

    def count(self, what: str, number: int = 1) -> None:
        """Count something that happened."""
        if number:
            self.counts[what] = self.counts.get(what, 0) + number


class _Turn(msgspec.Struct):
    """One step: the profile, its partition's clock, and what comes of it."""

    profile: Profile
    clock_ms: int
    outcome: Outcome

    def send(self, message: Message) -> None:
        self.outcome.messages.append(message)


class Identity:
    """The protocol over an engine. The caller stores profiles, passes messages on and moves the clock."""

    def __init__(self, engine: Engine, rules: Rules | None = None) -> None:
        self.engine = engine
        self.rules = Rules() if rules is None else rules
        self._handlers: dict[type, Callable[[_Turn, Any], None]] = {
            Claim: self._on_claim,
            Join: self._on_join,
            Handover: self._on_handover,
            Refused: self._on_refused,
        }

    def on_event(self, profile: Profile, event: Event, *, clock_ms: int) -> Outcome:
        """An event routed to this identifier: apply it, hold it, or send it on."""
        return self.on_message(profile, Forward(profile.id, event), clock_ms=clock_ms)

    def on_message(self, profile: Profile, message: Message, *, clock_ms: int) -> Outcome:
        """A message to this identifier; the profile is a new one where nothing is stored."""
        turn = _Turn(profile, clock_ms, Outcome())
        if profile.merged_into is not None:
            self._relay(turn, message, profile.merged_into)
        elif isinstance(message, Forward):
            self._on_event(turn, message.event)
        else:
            self._handlers[message.__class__](turn, message)
        return turn.outcome

    def on_timer(self, profile: Profile, *, clock_ms: int) -> Outcome:
        """Time passes, unless the profile waits or is a redirect: its due time then stands."""
        outcome = Outcome()
        if profile.merged_into is None and not is_waiting(profile):
            outcome.add(self.engine.on_timer(profile, clock_ms=clock_ms))
        return outcome

    def on_definitions(self, profile: Profile, *, clock_ms: int) -> Outcome:
        """Judge by the engine's segments a profile that was judged by others; only where there is one."""
        outcome = Outcome()
        if profile.first_ms is None:
            profile.judged_by = self.engine.version
        else:
            at_ms = standing_ms(profile, clock_ms)
            outcome.add(self.engine.on_definitions(profile, clock_ms=at_ms))
        return outcome

    def _relay(self, turn: _Turn, message: Message, into: str) -> None:
        if message.hops >= MAX_HOPS:
            turn.outcome.count("gave_up")
        else:
            turn.send(msgspec.structs.replace(message, to=into, hops=message.hops + 1))

    def _on_event(self, turn: _Turn, event: Event) -> None:
        profile = turn.profile
        if message_hash(event.message_id) not in profile.seen:
            self._claim(turn, {**dict.fromkeys(identifiers_of(event), False), **aliases_of(event)})
        if not is_waiting(profile):
            turn.outcome.add(self.engine.on_event(profile, event, clock_ms=turn.clock_ms))
            return
        links = links_of(profile)
        if len(links.held) < MAX_HELD:
            links.held.append(Held(turn.clock_ms, event))
            return
        turn.outcome.count("unheld")
        links.clock_ms = turn.clock_ms
        turn.outcome.add(self.engine.on_event(profile, event, clock_ms=turn.clock_ms))

    def _claim(self, turn: _Turn, identifiers: dict[str, bool]) -> None:
        """Claim what the profile does not know yet; what is said explicitly even if it was refused."""
        profile = turn.profile
        for identifier, explicit in identifiers.items():
            links = profile.links
            if identifier == profile.id or (links is not None and identifier in links.owned):
                continue
            if links is not None and (identifier in links.pending or identifier in links.refused):
                if not explicit or links.pending.get(identifier):
                    continue
            elif not explicit and self._full(profile, identifier):
                turn.outcome.count("limit")
                continue
            begin_waiting(profile, identifier, explicit=explicit, clock_ms=turn.clock_ms)
            turn.send(Claim(identifier, identifier, profile.id, explicit))

    def _full(self, profile: Profile, identifier: str) -> bool:
        links = profile.links
        known: Iterable[str] = (profile.id,) if links is None else (*links.owned, *links.pending)
        return _number(known, identifier) >= self.rules.limit(identifier)

    def _on_claim(self, turn: _Turn, claim: Claim) -> None:
        """At the owner of the identifier: go over to the claimant, have it join, let it wait, or refuse."""
        owner, by, rank = turn.profile.id, claim.by, self.rules.rank
        links = turn.profile.links
        if by == owner or (links is not None and by in links.owned):
            self._resolve(turn, claim.of)
        elif not (is_user(owner) and is_user(by)):
            if rank(by) < rank(owner):
                self._yield(turn, by, claim.of)
            else:
                turn.send(Join(by, claim.of, owner, claim.explicit))
        elif not claim.explicit:
            turn.outcome.count("conflict")
            turn.send(Refused(by, claim.of, owner))
        elif is_waiting(turn.profile) and rank(owner) < rank(by):
            # Whoever waits yields to smaller ids only: so no circle of users yields all round.
            self._let_wait(turn.profile, claim)
        else:
            self._yield(turn, by, claim.of)

    @staticmethod
    def _let_wait(profile: Profile, claim: Claim) -> None:
        waiting = links_of(profile).waiting
        if (claim.of, claim.by) not in waiting:
            waiting.append((claim.of, claim.by))

    def _on_join(self, turn: _Turn, join: Join) -> None:
        """At the claimant, or the profile that it is part of by now, which may come first in the order."""
        profile, into = turn.profile, join.into
        both_users = is_user(profile.id) and is_user(into)
        if into == profile.id or into in links_of(profile).owned:
            self._resolve(turn, join.of)
        elif both_users and not join.explicit:
            turn.outcome.count("conflict")
            self._refuse(turn, join.of)
        elif not both_users and self.rules.rank(into) < self.rules.rank(profile.id):
            self._yield(turn, into, join.of)
        else:
            begin_waiting(profile, join.of, explicit=join.explicit, clock_ms=turn.clock_ms)
            turn.send(Claim(join.of, join.of, profile.id, join.explicit))

    def _yield(self, turn: _Turn, into: str, of: str) -> None:
        """Close the memberships and send everything to ``into``; what waited here is to be asked there."""
        profile, blank = turn.profile, is_blank(turn.profile)
        at_ms = standing_ms(profile, turn.clock_ms)
        turn.outcome.add(self.engine.on_yield(profile, into=into, clock_ms=at_ms))
        state = redirect(profile, into)
        turn.send(Handover(into, of, profile.id, state.sequence, None if blank else state))
        if state.links is not None:
            waiting, state.links.waiting = state.links.waiting, []
            for claimed, by in waiting:
                turn.send(Claim(into, claimed, by, explicit=True))

    def _on_handover(self, turn: _Turn, handover: Handover) -> None:
        profile, links, state = turn.profile, links_of(turn.profile), handover.state
        over = self._over(profile)
        if state is not None and links.absorbed.get(handover.loser, -1) < handover.sequence:
            for claimed in absorb(profile, state, sequence=handover.sequence, clock_ms=turn.clock_ms):
                # Under the new name, which comes before the old one: who lets claims wait goes by it.
                turn.send(Claim(claimed, claimed, profile.id, explicit=True))
            turn.outcome.count("joined")
        own(profile, handover.loser)
        own(profile, handover.of)
        turn.outcome.count("overflow", self._over(profile) - over)
        self._settle(turn)

    def _over(self, profile: Profile) -> int:
        """How many identifiers the profile has beyond the limits of their types."""
        owned = links_of(profile).owned
        first = {type_of(each): each for each in owned}
        return sum(max(0, _number(owned, each) - self.rules.limit(each)) for each in first.values())

    def _on_refused(self, turn: _Turn, refused: Refused) -> None:
        # What was claimed explicitly meanwhile still waits for the answer to that.
        if links_of(turn.profile).pending.get(refused.of) is False:
            self._refuse(turn, refused.of)

    def _resolve(self, turn: _Turn, identifier: str) -> None:
        own(turn.profile, identifier)
        self._settle(turn)

    def _refuse(self, turn: _Turn, identifier: str) -> None:
        refuse(turn.profile, identifier)
        self._settle(turn)

    def _settle(self, turn: _Turn) -> None:
        """Once nothing is awaited: merge what was handed over, apply what was held, catch up with time."""
        profile, outcome = turn.profile, turn.outcome
        if is_waiting(profile):
            return
        at_ms, put_off = standing_ms(profile, turn.clock_ms), end_waiting(profile)
        if put_off.joined:
            outcome.add(self.engine.on_merge(profile, put_off.joined, clock_ms=at_ms))
        for held in put_off.held:
            at_ms = max(at_ms, held.clock_ms)
            outcome.add(self.engine.on_event(profile, held.event, clock_ms=at_ms))
        outcome.add(self.engine.on_timer(profile, clock_ms=turn.clock_ms))
        for claimed, by in put_off.waiting:
            claim = Claim(profile.id, claimed, by, explicit=True)
            if profile.merged_into is None:
                self._on_claim(turn, claim)
            else:
                self._relay(turn, claim, profile.merged_into)


def _number(known: Iterable[str], identifier: str) -> int:
    return sum(type_of(each) == type_of(identifier) for each in known)
