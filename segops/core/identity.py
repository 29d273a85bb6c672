"""One profile per person: which identifiers are one, agreed on by profiles that only send messages.

What is stored under an identifier is a profile or a redirect to one. An event goes to the first of its
identifiers; the profile there claims every other one that it does not know, and holds its events until the
owner has handed itself over, asked it to join, or refused. Held events are then applied as if the answer
had been there before them. Each step is a function of what is stored under one identifier and of what
arrived there: it changes the profile in place and says what to publish and to send.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from segops.core.engine import Engine, message_hash
from segops.core.erasure import erase, forget
from segops.core.events import Event
from segops.core.identifiers import Rules, aliases_of, all_of, is_user, type_of
from segops.core.links import (
    absorb,
    begin_waiting,
    end_waiting,
    is_blank,
    is_waiting,
    links_of,
    note_origin,
    origin_of_joining,
    own,
    refuse,
    standing_ms,
)
from segops.core.merge import redirect
from segops.core.messages import (
    Claim,
    Erase,
    Forget,
    Forward,
    Handover,
    Join,
    Message,
    Refused,
    Restore,
    Split,
)
from segops.core.parting import disputed, has_part, part, restore, stays_apart, without_what_came_since
from segops.core.profile import Held, Joined, Links, Origin, Parting, Profile, Waiter
from segops.core.turns import Outcome, Turn, Unjoined
from segops.core.values import MAX_MS

#: Events that wait for an answer at most; further ones are applied at once.
MAX_HELD = 1_000
#: A message is forwarded at most this often; it guards against a loop that there should never be.
MAX_HOPS = 1_000


class Identity:
    """The protocol over an engine. The caller stores profiles, passes messages on and moves the clock."""

    def __init__(self, engine: Engine, rules: Rules | None = None) -> None:
        self.engine = engine
        self.rules = Rules() if rules is None else rules
        self._identifiers_of = all_of if self.rules.counts_all else self.rules.identifiers_of
        self._handlers: dict[type, Callable[[Turn, Any], None]] = {
            Forward: self._on_forward,
            Claim: self._on_claim,
            Join: self._on_join,
            Handover: self._on_handover,
            Refused: self._on_refused,
            Erase: self._on_erase,
            Forget: self._on_forget,
            Split: self._on_split,
            Restore: self._on_restore,
        }

    def knows(self, profile: Profile, event: Event) -> bool:
        """Whether an event says nothing new of who is who, and nothing is awaited: the engine can take it."""
        if profile.merged_into is not None or event.previous_id is not None:
            return False
        found, links = self._identifiers_of(event), profile.links  # every event comes through here
        if links is None:
            return found == [profile.id]
        if links.pending:
            return False
        for each in found:  # noqa: SIM110 - all() takes longer
            if each not in links.owned and each not in links.refused:
                return False
        return True

    def on_event(self, profile: Profile, event: Event, *, clock_ms: int) -> Outcome:
        """An event routed to this identifier: apply it, hold it, or send it on."""
        return self.on_message(profile, Forward(profile.id, event), clock_ms=clock_ms)

    def on_message(self, profile: Profile, message: Message, *, clock_ms: int, full: bool = False) -> Outcome:
        """A message to this identifier; the profile is a new one where nothing is stored.

        ``full``: what is handed over does not fit in, and goes back.
        """
        if isinstance(message, Forward):
            turn = Turn(profile, clock_ms, max(clock_ms, message.event.time_ms), Outcome())
        else:
            turn = Turn(profile, max(clock_ms, message.at_ms), message.at_ms, Outcome(), full)
        if profile.merged_into is not None and not isinstance(message, (Forget, Restore)):
            self._relay(turn, message, profile.merged_into)
            turn.outcome.moved = False
        elif profile.links is None and isinstance(message, Join | Handover | Refused):
            # An answer to what was asked before an erasure, come again after a crash.
            turn.outcome.count("stale")
            turn.outcome.moved = False
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

    def _relay(self, turn: Turn, message: Message, into: str) -> None:
        if message.hops >= MAX_HOPS:
            turn.outcome.count("gave_up")
        else:
            turn.outcome.messages.append(msgspec.structs.replace(message, to=into, hops=message.hops + 1))
            turn.outcome.count("relayed")

    def _on_forward(self, turn: Turn, forward: Forward) -> None:
        profile, event = turn.profile, forward.event
        if message_hash(event.message_id) not in profile.seen:
            met = Origin(turn.at_ms, event.message_id if event.named else None)
            said = {**dict.fromkeys(self.rules.identifiers_of(event), False), **aliases_of(event)}
            self._claim(turn, said, met)
        if not is_waiting(profile):
            transition = self.engine.on_event(profile, event, clock_ms=turn.clock_ms)
            turn.outcome.add(transition)
            turn.outcome.moved = transition.moved
            return
        links = links_of(profile)
        if len(links.held) < MAX_HELD:
            links.held.append(Held(turn.clock_ms, event))
            return
        turn.outcome.count("unheld")
        links.clock_ms = turn.clock_ms
        turn.outcome.add(self.engine.on_event(profile, event, clock_ms=turn.clock_ms))

    def _claim(self, turn: Turn, identifiers: dict[str, bool], met: Origin) -> None:
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
                limit = self.rules.limit(type_of(identifier))
                self._unjoin(turn, "limit", identifier, f"it has {limit} of this type already")
                continue
            begin_waiting(profile, identifier, explicit=explicit, clock_ms=turn.at_ms)
            note_origin(profile, identifier, met)
            turn.send(Claim(identifier, identifier, profile.id, explicit))

    @staticmethod
    def _unjoin(turn: Turn, reason: str, identifier: str, detail: str) -> None:
        turn.outcome.count(reason)
        turn.outcome.unjoined.append(Unjoined(reason, turn.profile.id, identifier, detail))
        refuse(turn.profile, identifier)

    def _full(self, profile: Profile, identifier: str) -> bool:
        links = profile.links
        known: Iterable[str] = (profile.id,) if links is None else (*links.owned, *links.pending)
        kind = type_of(identifier)
        return sum(type_of(each) == kind for each in known) >= self.rules.limit(kind)

    def _on_claim(self, turn: Turn, claim: Claim) -> None:
        """At the owner of the identifier: go over to the claimant, have it join, let it wait, or refuse."""
        owner, by, rank = turn.profile.id, claim.by, self.rules.rank
        links = turn.profile.links
        if by == owner or (links is not None and by in links.owned):
            self._resolve(turn, claim.of)
        elif links is not None and claim.of not in links.owned:
            # It was split off while the claim was under way. What restores it was sent there before this.
            self._relay(turn, claim, claim.of)
        elif not claim.explicit and stays_apart(turn.profile, by):
            turn.send(Refused(by, claim.of, owner))
        elif not (is_user(owner) and is_user(by)):
            if rank(by) < rank(owner):
                self._yield(turn, by, claim.of)
            else:
                turn.send(Join(by, claim.of, owner, claim.explicit))
        elif not claim.explicit:
            turn.send(Refused(by, claim.of, owner))
        elif is_waiting(turn.profile) and rank(owner) < rank(by):
            # Whoever waits yields to smaller ids only: so no circle of users yields all round.
            self._let_wait(turn.profile, claim)
        else:
            self._yield(turn, by, claim.of)

    @staticmethod
    def _let_wait(profile: Profile, claim: Claim) -> None:
        waiting = links_of(profile).waiting
        if (claim.of, claim.by) not in ((each.of, each.by) for each in waiting):
            waiting.append(Waiter(claim.of, claim.by, claim.at_ms))

    def _on_join(self, turn: Turn, join: Join) -> None:
        """At the claimant, or the profile that it is part of by now, which may come first in the order."""
        profile, into = turn.profile, join.into
        both_users = is_user(profile.id) and is_user(into)
        if into == profile.id or into in links_of(profile).owned:
            self._resolve(turn, join.of)
        elif not join.explicit and stays_apart(profile, into):
            self._on_refused(turn, Refused(profile.id, join.of, into))
        elif both_users and not join.explicit:
            self._conflict(turn, join.of, into)
        elif not both_users and self.rules.rank(into) < self.rules.rank(profile.id):
            self._yield(turn, into, join.of)
        else:
            begin_waiting(profile, join.of, explicit=join.explicit, clock_ms=turn.at_ms)
            turn.send(Claim(join.of, join.of, profile.id, join.explicit))

    def _yield(self, turn: Turn, into: str, of: str) -> None:
        """Close the memberships and send everything to ``into``; what waited here is to be asked there."""
        profile = turn.profile
        if is_blank(profile):
            profile.merged_into = into
            turn.send(Handover(into, of, profile.id, profile.sequence))
            return
        at_ms = standing_ms(profile, turn.clock_ms)
        turn.outcome.add(self.engine.on_yield(profile, into=into, clock_ms=at_ms))
        state = redirect(profile, into)
        turn.send(Handover(into, of, profile.id, state.sequence, state))
        if state.links is not None:
            turn.outcome.messages += _put_off(state.links, into)
            state.links.waiting, state.links.erasing, state.links.parting = [], [], []

    def _on_handover(self, turn: Turn, handover: Handover) -> None:
        links = links_of(turn.profile)
        if links.parted.get(handover.loser, -1) >= handover.sequence:  # it went back, and comes again
            turn.outcome.count("stale")
            turn.outcome.moved = False
            return
        if (
            turn.full
            and handover.state is not None
            and links.absorbed.get(handover.loser, -1) < handover.sequence
        ):
            self._give_back(turn, handover)
            return
        profile, state = turn.profile, handover.state
        owned, asked = len(links.owned), handover.of in links.pending
        note_origin(profile, handover.loser, origin_of_joining(profile, state, handover.of, handover.at_ms))
        if state is not None and links.absorbed.get(handover.loser, -1) < handover.sequence:
            for claimed in absorb(profile, state, sequence=handover.sequence, at_ms=turn.at_ms):
                # Under the new name, which comes before the old one: who lets claims wait goes by it.
                turn.send(Claim(claimed, claimed, profile.id, explicit=True))
            turn.outcome.count("joined")
        own(profile, handover.loser)
        if asked:
            own(profile, handover.of)
        elif handover.of in links.pending:  # the loser was to join, for what has been split off since
            refuse(profile, handover.of)
        turn.outcome.count("overflow", self._overflow(links.owned, owned))
        self._settle(turn)

    def _overflow(self, owned: Sequence[str], since: int) -> int:
        """How many of the identifiers from the place ``since`` on are beyond the limit of their type."""
        kinds = [type_of(each) for each in owned]
        return sum(
            kinds[: place + 1].count(kinds[place]) > self.rules.limit(kinds[place])
            for place in range(since, len(kinds))
        )

    def _on_refused(self, turn: Turn, refused: Refused) -> None:
        # What was claimed explicitly meanwhile still waits for the answer to that.
        if links_of(turn.profile).pending.get(refused.of) is False:
            self._conflict(turn, refused.of, refused.owner)

    def _on_erase(self, turn: Turn, message: Erase) -> None:
        if is_waiting(turn.profile):
            links_of(turn.profile).erasing.append(message.what)
        else:
            erase(self.engine, turn, message.what)

    def _on_forget(self, turn: Turn, message: Forget) -> None:
        forget(self.engine, turn, message)

    def _give_back(self, turn: Turn, handover: Handover) -> None:
        profile, state = turn.profile, handover.state
        if state is not None and state.links is not None:
            state.links.pending.pop(handover.of, None)
        self._unjoin(turn, "size", handover.loser, "together they would be too large")
        turn.outcome.count("returned")
        part(turn, Parting(handover.loser, handover.sequence, state))
        refuse(profile, handover.of)
        self._settle(turn)

    def _on_split(self, turn: Turn, split: Split) -> None:
        parting = Parting(split.loser, split.sequence, split.state)
        if is_waiting(turn.profile):
            links_of(turn.profile).parting.append(parting)
        elif has_part(turn.profile, parting):
            turn.at_ms = turn.clock_ms
            asked = without_what_came_since(parting)
            part(turn, parting)
            self._claim_again(turn, {each: False for each in disputed(turn.profile, asked)})
        else:
            detail = "there is nothing to split off: it is not part of that one, or by another hand-over"
            turn.outcome.unjoined.append(Unjoined("split", turn.profile.id, split.loser, detail))
            turn.outcome.moved = False

    def _on_restore(self, turn: Turn, message: Restore) -> None:
        profile = turn.profile
        if profile.merged_into is None or profile.sequence != message.sequence:
            turn.outcome.count("stale")
            turn.outcome.moved = False
            return
        asked = restore(profile, message, self.engine)
        turn.outcome.add(self.engine.on_restore(profile, clock_ms=standing_ms(profile, turn.clock_ms)))
        turn.outcome.count("split")
        self._claim_again(turn, asked)

    def _claim_again(self, turn: Turn, identifiers: dict[str, bool]) -> None:
        profile = turn.profile
        at_ms = standing_ms(profile, turn.clock_ms)
        for identifier, explicit in identifiers.items():
            begin_waiting(profile, identifier, explicit=explicit, clock_ms=at_ms)
            turn.send(Claim(identifier, identifier, profile.id, explicit))
        self._settle(turn)

    def _resolve(self, turn: Turn, identifier: str) -> None:
        if stays_apart(turn.profile, identifier):  # it was split off while the claim was under way
            refuse(turn.profile, identifier)
        else:
            own(turn.profile, identifier)
        self._settle(turn)

    def _conflict(self, turn: Turn, identifier: str, owner: str) -> None:
        self._unjoin(turn, "conflict", identifier, f"it belongs to {owner}")
        self._settle(turn)

    def _settle(self, turn: Turn) -> None:
        """Once nothing is awaited: merge what was handed over and apply what was held, catch up with time."""
        profile = turn.profile
        if is_waiting(profile):
            return
        at_ms, put_off = standing_ms(profile, turn.clock_ms), end_waiting(profile)
        joined = deque(sorted(put_off.joined, key=lambda each: each.at_ms))
        for held in put_off.held:
            at_ms = max(at_ms, held.clock_ms)
            at_ms = self._merge(turn, joined, at_ms=at_ms, until_ms=max(at_ms, held.event.time_ms))
            turn.outcome.add(self.engine.on_event(profile, held.event, clock_ms=at_ms))
        self._merge(turn, joined, at_ms=at_ms, until_ms=MAX_MS)
        turn.outcome.add(self.engine.on_timer(profile, clock_ms=turn.clock_ms))
        for message in _put_off(put_off, profile.id):
            self._take_up(turn, message)

    def _take_up(self, turn: Turn, message: Claim | Erase | Split) -> None:
        into = turn.profile.merged_into
        if into is not None:
            self._relay(turn, message, into)
        elif isinstance(message, Claim):
            self._on_claim(msgspec.structs.replace(turn, at_ms=message.at_ms), message)
        else:
            self._handlers[message.__class__](turn, message)

    def _merge(self, turn: Turn, joined: deque[Joined], *, at_ms: int, until_ms: int) -> int:
        """Merge with those that are one with the profile from an instant up to ``until_ms`` on; the clock."""
        losers = []
        while joined and joined[0].at_ms <= until_ms:
            at_ms = max(at_ms, joined[0].at_ms)
            losers.append(joined.popleft().profile)
        if losers:
            turn.outcome.add(self.engine.on_merge(turn.profile, losers, clock_ms=at_ms))
        return at_ms


def _put_off(links: Links, to: str) -> list[Claim | Erase | Split]:
    """What waited for the answers that a profile awaited, as messages to whoever is to take it up."""
    return [
        *(Claim(to, each.of, each.by, explicit=True, at_ms=each.at_ms) for each in links.waiting),
        *(Erase(to, what) for what in links.erasing),
        *(Split(to, each.loser, each.sequence, each.state) for each in links.parting),
    ]
