"""One profile per customer, agreed on by profiles that only exchange messages.

An identifier holds a profile, a redirect to a profile, or nothing. An event is routed to the first of its
identifiers. The profile there *claims* every other identifier that it does not know yet, and holds its events
until each claim is answered:

- the owner *hands itself over* (``Handover``): it becomes a redirect, and its identifiers and state go to
  the claimant;
- the owner asks the claimant to merge into it instead (``MergeRequest``), because the owner's id ranks first
  (``Rules.rank``);
- the owner *refuses* (``Refused``): both are known users, or the two were split.

When no claim is pending, the survivor merges its sources and applies the held events, as if the answers had
been there before the events. The outcome does not depend on the order in which messages arrive:

- Ranks are a total order, and a profile hands itself over only to one that ranks before it. The exception is
  an explicit claim between two known users; a user that is waiting defers such a claim unless the claimant
  ranks first, so users never hand themselves over in a circle.
- A hand-over is identified by its source and the source's sequence: a redelivered one changes nothing.

Each step is a function of the state of one identifier and of one message to it. It changes the profile in
place and returns what to publish and to send. ``Identity`` keeps the table: state x message -> handler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from segops.core.engine import Engine, message_hash
from segops.core.events import Event
from segops.core.identifiers import Rules, aliases_of, all_of, is_user, type_of
from segops.core.identity.erasure import erase, forget
from segops.core.identity.listing import take_listing
from segops.core.identity.merging import (
    Deferred,
    brings_state,
    catch_up,
    claim_again,
    hand_over,
    take_in,
    was_split_off,
)
from segops.core.identity.split import (
    can_split_off,
    contested,
    drop_deferred,
    restore,
    split_off,
    stays_apart,
)
from segops.core.links import (
    begin_waiting,
    is_waiting,
    links_of,
    note_origin,
    own,
    profile_clock_ms,
    refuse,
)
from segops.core.messages import (
    Claim,
    Erase,
    Forget,
    Forward,
    Handover,
    Listing,
    MergeRequest,
    Message,
    Refused,
    Restore,
    Split,
)
from segops.core.profile import HeldEvent, IdentifierOrigin, Profile, SplitRequest, Waiter
from segops.core.rules.execution import IDENTIFIERS
from segops.core.step import NotMerged, Step, StepResult

#: The most events that a waiting profile holds; further ones are applied at once.
MAX_HELD = 1_000
#: The most times that a message is relayed: a guard against a circle of redirects, which must not exist.
MAX_HOPS = 1_000

_State = Literal["redirect", "unlinked", "linked", "waiting"]
_Handler = Callable[[Step, Any], None]
_ANSWERS: Final = (MergeRequest, Handover, Refused)


class Identity:
    """The protocol over an engine. The caller stores profiles, delivers messages and moves the clock."""

    def __init__(self, engine: Engine, rules: Rules | None = None) -> None:
        self.engine = engine
        self.rules = Rules() if rules is None else rules
        self._identifiers_of = all_of if self.rules.counts_all else self.rules.identifiers_of
        self._handlers = self._table()

    def _table(self) -> Mapping[_State, Mapping[type, _Handler]]:
        linked: dict[type, _Handler] = {
            Forward: self._on_forward,
            Claim: self._on_claim,
            MergeRequest: self._on_merge_request,
            Handover: self._on_handover,
            Refused: self._on_refused,
            Erase: self._on_erase,
            Forget: self._on_forget,
            Split: self._on_split,
            Restore: _ignore_stale,
            Listing: self._on_listing,
        }
        relayed = dict.fromkeys(linked, self._on_redirect)
        return {
            "redirect": relayed | {Forget: self._on_forget, Restore: self._on_restore},
            # An erased profile has no claims: answers to them are redeliveries after a crash.
            "unlinked": linked | dict.fromkeys(_ANSWERS, _ignore_stale),
            "linked": linked,
            "waiting": linked | {Erase: _defer_erase, Split: _defer_split},
        }

    def knows(self, profile: Profile, event: Event) -> bool:
        """Return whether the engine alone can apply an event: no new identifier, and no claim pending."""
        if profile.merged_into is not None or event.previous_id is not None:
            return False
        found, links = self._identifiers_of(event), profile.links  # called for every event
        if links is None:
            return found == [profile.id]
        if links.pending:
            return False
        for each in found:  # noqa: SIM110 - all() takes longer
            if each not in links.owned and each not in links.refused:
                return False
        return True

    def on_event(self, profile: Profile, event: Event, *, clock_ms: int) -> StepResult:
        """Apply, hold or relay an event that is routed to this identifier."""
        if self.knows(profile, event):
            return self.engine.on_event(profile, event, clock_ms=clock_ms)
        return self.on_message(profile, Forward(profile.id, event), clock_ms=clock_ms)

    def on_message(
        self, profile: Profile, message: Message, *, clock_ms: int, full: bool = False
    ) -> StepResult:
        """Handle a message to this identifier. Where nothing is stored, pass a new profile.

        ``full``: with the state that the message hands over the profile would be too large; give it back.
        """
        if isinstance(message, Forward):
            step = Step(profile, clock_ms, max(clock_ms, message.event.time_ms), StepResult())
        else:
            step = Step(profile, max(clock_ms, message.at_ms), message.at_ms, StepResult(), full)
        waited = is_waiting(profile)
        self._handle(step, message)
        waits = is_waiting(profile)
        step.result.waiting = waits if waits is not waited else None
        return step.result

    def on_timer(self, profile: Profile, *, clock_ms: int) -> StepResult:
        """Fire due timers, unless the profile is a redirect or waiting, which stops its clock."""
        if profile.merged_into is None and not is_waiting(profile):
            return self.engine.on_timer(profile, clock_ms=clock_ms)
        return StepResult()

    def on_definitions(self, profile: Profile, *, clock_ms: int) -> StepResult:
        """Evaluate by the engine's segments a profile that was last evaluated by others."""
        if profile.first_ms is None:
            profile.evaluated_by = self.engine.version
            return StepResult()
        return self.engine.on_definitions(profile, clock_ms=profile_clock_ms(profile, clock_ms))

    def _handle(self, step: Step, message: Message) -> None:
        self._handlers[_state_of(step.profile)][message.__class__](step, message)

    def _on_redirect(self, step: Step, message: Message) -> None:
        _relay(step, message, step.profile.merged_into or "")
        step.result.moved = False

    def _on_forward(self, step: Step, forward: Forward) -> None:
        profile, event = step.profile, forward.event
        if message_hash(event.message_id) not in profile.seen:
            origin = IdentifierOrigin(step.at_ms, event.message_id if event.named else None)
            found = {**dict.fromkeys(self.rules.identifiers_of(event), False), **aliases_of(event)}
            self._claim(step, found, origin)
        if not is_waiting(profile):
            result = self.engine.on_event(profile, event, clock_ms=step.clock_ms)
            step.result.add(result)
            step.result.moved = result.moved
            return
        links = links_of(profile)
        if len(links.held) < MAX_HELD:
            links.held.append(HeldEvent(step.clock_ms, event))
            return
        step.result.count("unheld")
        links.clock_ms = step.clock_ms
        step.result.add(self.engine.on_event(profile, event, clock_ms=step.clock_ms))

    def _claim(self, step: Step, identifiers: dict[str, bool], origin: IdentifierOrigin) -> None:
        """Claim unknown identifiers (-> whether explicitly); an explicit claim overrides a refusal."""
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
                _unjoin(step, "limit", identifier, f"it already has {limit} of this type")
                continue
            begin_waiting(profile, identifier, explicit=explicit, clock_ms=step.at_ms)
            note_origin(profile, identifier, origin)
            step.send(Claim(identifier, identifier, profile.id, explicit))

    def _full(self, profile: Profile, identifier: str) -> bool:
        links = profile.links
        known: Iterable[str] = (profile.id,) if links is None else (*links.owned, *links.pending)
        kind = type_of(identifier)
        return sum(type_of(each) == kind for each in known) >= self.rules.limit(kind)

    def _on_claim(self, step: Step, claim: Claim) -> None:
        """At the owner: hand over to the claimant, ask it to merge, defer the claim, or refuse it."""
        owner, by, rank = step.profile.id, claim.by, self.rules.rank
        links = step.profile.links
        if by == owner or (links is not None and by in links.owned):
            self._resolve(step, claim.of)
        elif links is not None and claim.of not in links.owned:
            # It was split off while the claim was in flight; its ``Restore`` was sent there before this.
            _relay(step, claim, claim.of)
        elif not claim.explicit and stays_apart(step.profile, by):
            step.send(Refused(by, claim.of, owner))
        elif not (is_user(owner) and is_user(by)):
            if rank(by) < rank(owner):
                hand_over(self.engine, step, by, claim.of)
            else:
                step.send(MergeRequest(by, claim.of, owner, claim.explicit))
        elif not claim.explicit:
            step.send(Refused(by, claim.of, owner))
        elif is_waiting(step.profile) and rank(owner) < rank(by):
            # A waiting user merges into lower ranks only, so users never hand themselves over in a circle.
            _defer_claim(step.profile, claim)
        else:
            hand_over(self.engine, step, by, claim.of)

    def _on_merge_request(self, step: Step, request: MergeRequest) -> None:
        """At the claimant, or at its survivor, which may rank before ``into``."""
        profile, into = step.profile, request.into
        both_users = is_user(profile.id) and is_user(into)
        if into == profile.id or into in links_of(profile).owned:
            self._resolve(step, request.of)
        elif not request.explicit and stays_apart(profile, into):
            self._on_refused(step, Refused(profile.id, request.of, into))
        elif both_users and not request.explicit:
            self._conflict(step, request.of, into)
        elif not both_users and self.rules.rank(into) < self.rules.rank(profile.id):
            hand_over(self.engine, step, into, request.of)
        else:
            begin_waiting(profile, request.of, explicit=request.explicit, clock_ms=step.at_ms)
            step.send(Claim(request.of, request.of, profile.id, request.explicit))

    def _on_handover(self, step: Step, handover: Handover) -> None:
        profile = step.profile
        owned = links_of(profile).owned
        if was_split_off(profile, handover):
            _ignore_stale(step, handover)
        elif step.full and brings_state(profile, handover):
            self._give_back(step, handover)
        else:
            before = len(owned)
            take_in(step, handover)
            step.result.count("overflow", self._overflow(owned, before))
            self._settle(step)

    def _overflow(self, owned: Sequence[str], since: int) -> int:
        """Count the identifiers from index ``since`` on that exceed the limit of their type."""
        kinds = [type_of(each) for each in owned]
        return sum(
            kinds[: index + 1].count(kinds[index]) > self.rules.limit(kinds[index])
            for index in range(since, len(kinds))
        )

    def _give_back(self, step: Step, handover: Handover) -> None:
        profile, state = step.profile, handover.state
        if state is not None and state.links is not None:
            state.links.pending.pop(handover.of, None)
        _unjoin(step, "size", handover.source, "the merged profile would be too large")
        step.result.count("returned")
        split_off(step, SplitRequest(handover.source, handover.sequence, state))
        refuse(profile, handover.of)
        self._settle(step)

    def _on_refused(self, step: Step, refused: Refused) -> None:
        # If the identifier was claimed explicitly meanwhile, the answer to that claim is still to come.
        if links_of(step.profile).pending.get(refused.of) is False:
            self._conflict(step, refused.of, refused.owner)

    def _on_erase(self, step: Step, message: Erase) -> None:
        erase(self.engine, step, message.what)

    def _on_forget(self, step: Step, message: Forget) -> None:
        forget(self.engine, step, message)

    def _on_split(self, step: Step, split: Split) -> None:
        request = SplitRequest(split.source, split.sequence, split.state)
        if can_split_off(step.profile, request):
            step.at_ms = step.clock_ms
            asked = drop_deferred(request)
            split_off(step, request)
            of, clock_ms = (IDENTIFIERS,), step.clock_ms
            step.result.add(self.engine.on_changed(step.profile, of, reason="split", clock_ms=clock_ms))
            claim_again(step, {each: False for each in contested(step.profile, asked)})
            self._settle(step)
        else:
            detail = "nothing to split off: it is not part of this profile, or by another hand-over"
            step.result.add_not_merged(NotMerged("split", step.profile.id, split.source, detail))
            step.result.moved = False

    def _on_listing(self, step: Step, listing: Listing) -> None:
        take_listing(self.engine, step, listing)

    def _on_restore(self, step: Step, message: Restore) -> None:
        profile = step.profile
        if profile.sequence != message.sequence:
            _ignore_stale(step, message)
            return
        asked = restore(profile, message, self.engine)
        step.result.add(self.engine.on_restore(profile, clock_ms=profile_clock_ms(profile, step.clock_ms)))
        step.result.count("split")
        claim_again(step, asked)
        self._settle(step)

    def _resolve(self, step: Step, identifier: str) -> None:
        if stays_apart(step.profile, identifier):  # it was split off while the claim was in flight
            refuse(step.profile, identifier)
        else:
            own(step.profile, identifier)
        self._settle(step)

    def _conflict(self, step: Step, identifier: str, owner: str) -> None:
        _unjoin(step, "conflict", identifier, f"it belongs to {owner}")
        self._settle(step)

    def _settle(self, step: Step) -> None:
        """When no claim is pending any more: catch up, then handle the deferred requests."""
        if not is_waiting(step.profile):
            for request in catch_up(self.engine, step):
                self._handle_deferred(step, request)

    def _handle_deferred(self, step: Step, request: Deferred) -> None:
        into = step.profile.merged_into
        if into is not None:
            _relay(step, request, into)
        elif isinstance(request, Claim):
            self._on_claim(msgspec.structs.replace(step, at_ms=request.at_ms), request)
        else:
            self._handle(step, request)
        step.result.moved = True  # whatever became of the request: the profile no longer waits


def _state_of(profile: Profile) -> _State:
    if profile.merged_into is not None:
        return "redirect"
    if profile.links is None:
        return "unlinked"
    return "waiting" if profile.links.pending else "linked"


def _relay(step: Step, message: Message, into: str) -> None:
    if message.hops >= MAX_HOPS:
        step.result.count("gave_up")
    else:
        step.result.send(msgspec.structs.replace(message, to=into, hops=message.hops + 1))
        step.result.count("relayed")


def _ignore_stale(step: Step, _: Message) -> None:
    step.result.count("stale")
    step.result.moved = False


def _unjoin(step: Step, reason: str, identifier: str, detail: str) -> None:
    step.result.count(reason)
    step.result.add_not_merged(NotMerged(reason, step.profile.id, identifier, detail))
    refuse(step.profile, identifier)


def _defer_claim(profile: Profile, claim: Claim) -> None:
    waiting = links_of(profile).waiting
    if (claim.of, claim.by) not in ((each.of, each.by) for each in waiting):
        waiting.append(Waiter(claim.of, claim.by, claim.at_ms))


def _defer_erase(step: Step, message: Erase) -> None:
    links_of(step.profile).erasing.append(message.what)


def _defer_split(step: Step, split: Split) -> None:
    links_of(step.profile).split_requests.append(SplitRequest(split.source, split.sequence, split.state))
