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
from segops.core.events import Event
from segops.core.identifiers import Rules, aliases_of, all_of, is_user, type_of
from segops.core.identity.erasure import erase, forget
from segops.core.identity.split import (
    contested,
    is_split_off,
    restore,
    split_off,
    stays_apart,
    without_what_came_since,
)
from segops.core.links import (
    begin_waiting,
    end_waiting,
    is_blank,
    is_waiting,
    links_of,
    merge_source,
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
    MergeRequest,
    Message,
    Refused,
    Restore,
    Split,
)
from segops.core.profile import (
    HeldEvent,
    IdentifierOrigin,
    Links,
    MergedSource,
    Profile,
    SplitRequest,
    Waiter,
)
from segops.core.step import Step, StepResult, Unjoined
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
        self._handlers: dict[type, Callable[[Step, Any], None]] = {
            Forward: self._on_forward,
            Claim: self._on_claim,
            MergeRequest: self._on_merge_request,
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

    def on_event(self, profile: Profile, event: Event, *, clock_ms: int) -> StepResult:
        """An event routed to this identifier: apply it, hold it, or send it on."""
        if self.knows(profile, event):
            return self.engine.on_event(profile, event, clock_ms=clock_ms)
        return self.on_message(profile, Forward(profile.id, event), clock_ms=clock_ms)

    def on_message(
        self, profile: Profile, message: Message, *, clock_ms: int, full: bool = False
    ) -> StepResult:
        """A message to this identifier; the profile is a new one where nothing is stored.

        ``full``: what is handed over does not fit in, and goes back.
        """
        if isinstance(message, Forward):
            step = Step(profile, clock_ms, max(clock_ms, message.event.time_ms), StepResult())
        else:
            step = Step(profile, max(clock_ms, message.at_ms), message.at_ms, StepResult(), full)
        waited = is_waiting(profile)
        if profile.merged_into is not None and not isinstance(message, (Forget, Restore)):
            self._relay(step, message, profile.merged_into)
            step.result.moved = False
        elif profile.links is None and isinstance(message, MergeRequest | Handover | Refused):
            # An answer to what was asked before an erasure, come again after a crash.
            step.result.count("stale")
            step.result.moved = False
        else:
            self._handlers[message.__class__](step, message)
        waits = is_waiting(profile)
        step.result.waiting = waits if waits is not waited else None
        return step.result

    def on_timer(self, profile: Profile, *, clock_ms: int) -> StepResult:
        """Time passes, unless the profile waits or is a redirect: its due time then stands."""
        if profile.merged_into is None and not is_waiting(profile):
            return self.engine.on_timer(profile, clock_ms=clock_ms)
        return StepResult()

    def on_definitions(self, profile: Profile, *, clock_ms: int) -> StepResult:
        """Judge by the engine's segments a profile that was judged by others; only where there is one."""
        if profile.first_ms is None:
            profile.evaluated_by = self.engine.version
            return StepResult()
        return self.engine.on_definitions(profile, clock_ms=standing_ms(profile, clock_ms))

    def _relay(self, step: Step, message: Message, into: str) -> None:
        if message.hops >= MAX_HOPS:
            step.result.count("gave_up")
        else:
            step.result.send(msgspec.structs.replace(message, to=into, hops=message.hops + 1))
            step.result.count("relayed")

    def _on_forward(self, step: Step, forward: Forward) -> None:
        profile, event = step.profile, forward.event
        if message_hash(event.message_id) not in profile.seen:
            met = IdentifierOrigin(step.at_ms, event.message_id if event.named else None)
            said = {**dict.fromkeys(self.rules.identifiers_of(event), False), **aliases_of(event)}
            self._claim(step, said, met)
        if not is_waiting(profile):
            found = self.engine.on_event(profile, event, clock_ms=step.clock_ms)
            step.result.add(found)
            step.result.moved = found.moved
            return
        links = links_of(profile)
        if len(links.held) < MAX_HELD:
            links.held.append(HeldEvent(step.clock_ms, event))
            return
        step.result.count("unheld")
        links.clock_ms = step.clock_ms
        step.result.add(self.engine.on_event(profile, event, clock_ms=step.clock_ms))

    def _claim(self, step: Step, identifiers: dict[str, bool], met: IdentifierOrigin) -> None:
        """Claim what the profile does not know yet; what is said explicitly even if it was refused."""
        profile = step.profile
        for identifier, explicit in identifiers.items():
            links = profile.links
            if identifier == profile.id or (links is not None and identifier in links.owned):
                continue
            if links is not None and (identifier in links.pending or identifier in links.refused):
                if not explicit or links.pending.get(identifier):
                    continue
            elif not explicit and self._full(profile, identifier):
                limit = self.rules.limit(type_of(identifier))
                self._unjoin(step, "limit", identifier, f"it has {limit} of this type already")
                continue
            begin_waiting(profile, identifier, explicit=explicit, clock_ms=step.at_ms)
            note_origin(profile, identifier, met)
            step.send(Claim(identifier, identifier, profile.id, explicit))

    @staticmethod
    def _unjoin(step: Step, reason: str, identifier: str, detail: str) -> None:
        step.result.count(reason)
        step.result.add_unjoined(Unjoined(reason, step.profile.id, identifier, detail))
        refuse(step.profile, identifier)

    def _full(self, profile: Profile, identifier: str) -> bool:
        links = profile.links
        known: Iterable[str] = (profile.id,) if links is None else (*links.owned, *links.pending)
        kind = type_of(identifier)
        return sum(type_of(each) == kind for each in known) >= self.rules.limit(kind)

    def _on_claim(self, step: Step, claim: Claim) -> None:
        """At the owner of the identifier: go over to the claimant, have it join, let it wait, or refuse."""
        owner, by, rank = step.profile.id, claim.by, self.rules.rank
        links = step.profile.links
        if by == owner or (links is not None and by in links.owned):
            self._resolve(step, claim.of)
        elif links is not None and claim.of not in links.owned:
            # It was split off while the claim was under way. What restores it was sent there before this.
            self._relay(step, claim, claim.of)
        elif not claim.explicit and stays_apart(step.profile, by):
            step.send(Refused(by, claim.of, owner))
        elif not (is_user(owner) and is_user(by)):
            if rank(by) < rank(owner):
                self._merge_into(step, by, claim.of)
            else:
                step.send(MergeRequest(by, claim.of, owner, claim.explicit))
        elif not claim.explicit:
            step.send(Refused(by, claim.of, owner))
        elif is_waiting(step.profile) and rank(owner) < rank(by):
            # Whoever waits yields to smaller ids only: so no circle of users yields all round.
            self._let_wait(step.profile, claim)
        else:
            self._merge_into(step, by, claim.of)

    @staticmethod
    def _let_wait(profile: Profile, claim: Claim) -> None:
        waiting = links_of(profile).waiting
        if (claim.of, claim.by) not in ((each.of, each.by) for each in waiting):
            waiting.append(Waiter(claim.of, claim.by, claim.at_ms))

    def _on_merge_request(self, step: Step, join: MergeRequest) -> None:
        """At the claimant, or the profile that it is part of by now, which may come first in the order."""
        profile, into = step.profile, join.into
        both_users = is_user(profile.id) and is_user(into)
        if into == profile.id or into in links_of(profile).owned:
            self._resolve(step, join.of)
        elif not join.explicit and stays_apart(profile, into):
            self._on_refused(step, Refused(profile.id, join.of, into))
        elif both_users and not join.explicit:
            self._conflict(step, join.of, into)
        elif not both_users and self.rules.rank(into) < self.rules.rank(profile.id):
            self._merge_into(step, into, join.of)
        else:
            begin_waiting(profile, join.of, explicit=join.explicit, clock_ms=step.at_ms)
            step.send(Claim(join.of, join.of, profile.id, join.explicit))

    def _merge_into(self, step: Step, into: str, of: str) -> None:
        """Close the memberships and send everything to ``into``; what waited here is to be asked there."""
        profile = step.profile
        if is_blank(profile):
            profile.merged_into = into
            step.send(Handover(into, of, profile.id, profile.sequence))
            return
        at_ms = standing_ms(profile, step.clock_ms)
        step.result.add(self.engine.on_merge_into(profile, into=into, clock_ms=at_ms))
        state = redirect(profile, into)
        step.send(Handover(into, of, profile.id, state.sequence, state))
        if state.links is not None:
            step.result.send_all(_put_off(state.links, into))
            state.links.waiting, state.links.erasing, state.links.parting = [], [], []

    def _on_handover(self, step: Step, handover: Handover) -> None:
        links = links_of(step.profile)
        if links.parted.get(handover.loser, -1) >= handover.sequence:  # it went back, and comes again
            step.result.count("stale")
            step.result.moved = False
            return
        if (
            step.full
            and handover.state is not None
            and links.absorbed.get(handover.loser, -1) < handover.sequence
        ):
            self._give_back(step, handover)
            return
        profile, state = step.profile, handover.state
        owned, asked = len(links.owned), handover.of in links.pending
        note_origin(profile, handover.loser, origin_of_joining(profile, state, handover.of, handover.at_ms))
        if state is not None and links.absorbed.get(handover.loser, -1) < handover.sequence:
            for claimed in merge_source(profile, state, sequence=handover.sequence, at_ms=step.at_ms):
                # Under the new name, which comes before the old one: who lets claims wait goes by it.
                step.send(Claim(claimed, claimed, profile.id, explicit=True))
            step.result.count("joined")
        own(profile, handover.loser)
        if asked:
            own(profile, handover.of)
        elif handover.of in links.pending:  # the loser was to join, for what has been split off since
            refuse(profile, handover.of)
        step.result.count("overflow", self._overflow(links.owned, owned))
        self._settle(step)

    def _overflow(self, owned: Sequence[str], since: int) -> int:
        """How many of the identifiers from the place ``since`` on are beyond the limit of their type."""
        kinds = [type_of(each) for each in owned]
        return sum(
            kinds[: place + 1].count(kinds[place]) > self.rules.limit(kinds[place])
            for place in range(since, len(kinds))
        )

    def _on_refused(self, step: Step, refused: Refused) -> None:
        # What was claimed explicitly meanwhile still waits for the answer to that.
        if links_of(step.profile).pending.get(refused.of) is False:
            self._conflict(step, refused.of, refused.owner)

    def _on_erase(self, step: Step, message: Erase) -> None:
        if is_waiting(step.profile):
            links_of(step.profile).erasing.append(message.what)
        else:
            erase(self.engine, step, message.what)

    def _on_forget(self, step: Step, message: Forget) -> None:
        forget(self.engine, step, message)

    def _give_back(self, step: Step, handover: Handover) -> None:
        profile, state = step.profile, handover.state
        if state is not None and state.links is not None:
            state.links.pending.pop(handover.of, None)
        self._unjoin(step, "size", handover.loser, "together they would be too large")
        step.result.count("returned")
        split_off(step, SplitRequest(handover.loser, handover.sequence, state))
        refuse(profile, handover.of)
        self._settle(step)

    def _on_split(self, step: Step, split: Split) -> None:
        parting = SplitRequest(split.loser, split.sequence, split.state)
        if is_waiting(step.profile):
            links_of(step.profile).parting.append(parting)
        elif is_split_off(step.profile, parting):
            step.at_ms = step.clock_ms
            asked = without_what_came_since(parting)
            split_off(step, parting)
            self._claim_again(step, {each: False for each in contested(step.profile, asked)})
        else:
            detail = "there is nothing to split off: it is not part of that one, or by another hand-over"
            step.result.add_unjoined(Unjoined("split", step.profile.id, split.loser, detail))
            step.result.moved = False

    def _on_restore(self, step: Step, message: Restore) -> None:
        profile = step.profile
        if profile.merged_into is None or profile.sequence != message.sequence:
            step.result.count("stale")
            step.result.moved = False
            return
        asked = restore(profile, message, self.engine)
        step.result.add(self.engine.on_restore(profile, clock_ms=standing_ms(profile, step.clock_ms)))
        step.result.count("split")
        self._claim_again(step, asked)

    def _claim_again(self, step: Step, identifiers: dict[str, bool]) -> None:
        profile = step.profile
        at_ms = standing_ms(profile, step.clock_ms)
        for identifier, explicit in identifiers.items():
            begin_waiting(profile, identifier, explicit=explicit, clock_ms=at_ms)
            step.send(Claim(identifier, identifier, profile.id, explicit))
        self._settle(step)

    def _resolve(self, step: Step, identifier: str) -> None:
        if stays_apart(step.profile, identifier):  # it was split off while the claim was under way
            refuse(step.profile, identifier)
        else:
            own(step.profile, identifier)
        self._settle(step)

    def _conflict(self, step: Step, identifier: str, owner: str) -> None:
        self._unjoin(step, "conflict", identifier, f"it belongs to {owner}")
        self._settle(step)

    def _settle(self, step: Step) -> None:
        """Once nothing is awaited: merge what was handed over and apply what was held, catch up with time."""
        profile = step.profile
        if is_waiting(profile):
            return
        at_ms, put_off = standing_ms(profile, step.clock_ms), end_waiting(profile)
        joined = deque(sorted(put_off.joined, key=lambda each: each.at_ms))
        for held in put_off.held:
            at_ms = max(at_ms, held.clock_ms)
            at_ms = self._merge(step, joined, at_ms=at_ms, until_ms=max(at_ms, held.event.time_ms))
            step.result.add(self.engine.on_event(profile, held.event, clock_ms=at_ms))
        self._merge(step, joined, at_ms=at_ms, until_ms=MAX_MS)
        step.result.add(self.engine.on_timer(profile, clock_ms=step.clock_ms))
        for message in _put_off(put_off, profile.id):
            self._take_up(step, message)

    def _take_up(self, step: Step, message: Claim | Erase | Split) -> None:
        into = step.profile.merged_into
        if into is not None:
            self._relay(step, message, into)
        elif isinstance(message, Claim):
            self._on_claim(msgspec.structs.replace(step, at_ms=message.at_ms), message)
        else:
            self._handlers[message.__class__](step, message)

    def _merge(self, step: Step, joined: deque[MergedSource], *, at_ms: int, until_ms: int) -> int:
        """Merge with those that are one with the profile from an instant up to ``until_ms`` on; the clock."""
        losers = []
        while joined and joined[0].at_ms <= until_ms:
            at_ms = max(at_ms, joined[0].at_ms)
            losers.append(joined.popleft().profile)
        if losers:
            step.result.add(self.engine.on_merge(step.profile, losers, clock_ms=at_ms))
        return at_ms


def _put_off(links: Links, to: str) -> list[Claim | Erase | Split]:
    """What waited for the answers that a profile awaited, as messages to whoever is to take it up."""
    return [
        *(Claim(to, each.of, each.by, explicit=True, at_ms=each.at_ms) for each in links.waiting),
        *(Erase(to, what) for what in links.erasing),
        *(Split(to, each.loser, each.sequence, each.state) for each in links.parting),
    ]
