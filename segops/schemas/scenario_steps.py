"""The steps of a scenario: clock advances, events and expected results."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from segops.core.errors import RejectedEvent
from segops.core.segments import SegmentSet
from segops.core.values import MAX_MS, format_instant, parse_duration, parse_instant
from segops.schemas.events import decode, route
from segops.schemas.scenario_segments import Document, Location, PublishedSegments
from segops.schemas.segment_reading import KEY_PATTERN

#: The start of the clock if a scenario names no instant.
DEFAULT_START = "2026-01-01T00:00:00Z"
#: The fields of the Segment spec's common calls; other fields are reported as typing errors.
EVENT_FIELDS = frozenset(
    {"type", "event", "name", "category", "properties", "traits", "context", "integrations", "channel"}
    | {"userId", "anonymousId", "groupId", "previousId", "messageId", "version"}
    | {"timestamp", "originalTimestamp", "sentAt", "receivedAt"}
)
_TIMES = ("timestamp", "originalTimestamp", "receivedAt", "sentAt")
_IDENTIFIERS = ("user_id:", "email:", "anonymous_id:")
_SHIFT = r"\s*[+-]\s*\d+\s*(?:ms|[smhdw])"
_SHIFTED = re.compile(rf"(.*?)((?:{_SHIFT})*)\s*")
_EARLIEST_MS, _LATEST_MS = -62_135_596_800_000, 253_402_300_799_999


_ListKey = Annotated[str, Field(pattern=KEY_PATTERN)]
_Ids = Annotated[list[str], Field(min_length=1)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ExpectForm(_Form):
    """The segments entered and exited in a step, by all profiles together."""

    entered: list[str] = []
    exited: list[str] = []


class ChangeForm(_Form):
    """An expected change; only the fields given are compared."""

    action: Literal["entered", "exited"]
    segment: str
    profile: str = ""
    reason: Literal["event", "time", "definition", "backfill"] = "event"
    occurred_at: str = ""
    flips_at: str | None = None
    event_id: str | None = None


class ListForm(_Form):
    """The next version of a static list: identifiers, and until when it names them."""

    ids: _Ids
    expires: str = ""


class StepForm(_Form):
    """A step as written."""

    at: str = ""
    lists: dict[_ListKey, _Ids | ListForm] = Field(default={}, min_length=1)
    apply: Any = None
    retire: list[str] = Field(default=[], min_length=1)
    event: dict[Any, Any] = {}
    events: list[dict[Any, Any]] = Field(default=[], min_length=1)
    expect: ExpectForm = ExpectForm()
    changes: list[ChangeForm] = []
    members: dict[str, list[str]] = {}


class ScenarioStep(msgspec.Struct, frozen=True):
    """A step ready to run: the clock advances, segments are published, events are applied, checks are made.

    ``listings``: identifiers with a list and its version that names them. ``segments`` are all segments from
    this step on, or None if they stay the same. ``events`` are pairs of an
    encoded event and the message id to use if it has none. ``expect`` has sorted pairs of action and segment,
    ``changes`` the fields to compare, ``members`` sorted segment keys by profile id. A check that is None is
    not made.
    """

    number: int
    line: int
    at_ms: int
    events: tuple[tuple[bytes, str], ...]
    expect: tuple[tuple[str, str], ...] | None
    changes: tuple[Mapping[str, str], ...] | None
    members: Mapping[str, Sequence[str]] | None
    segments: SegmentSet | None = None
    listings: tuple[tuple[str, str, int], ...] = ()

    @property
    def checks(self) -> bool:
        """Whether the step has a check."""
        return not (self.expect is None and self.changes is None and self.members is None)


def shifted_instant(written: str, start_ms: int | None) -> int:
    """Parse an instant shifted by durations (without an instant: relative to the start); return epoch ms.

    >>> shifted_instant("+1h", 0), shifted_instant("+48h - 1ms", 0), shifted_instant("1970-01-02 -1ms", None)
    (3600000, 172799999, 86399999)

    Raises ValueError for anything else.
    """
    match = _SHIFTED.fullmatch(written)
    base, shifts = (match[1].strip(), match[2]) if match else (written, "")
    begin = parse_instant(base) if base else start_ms
    if begin is None or not (base or shifts):
        raise ValueError(
            f"expected an instant, such as 2026-01-31T00:00:00Z or +1h from the start, got {written!r}"
        )
    ms = begin + sum(_shift(shift) for shift in re.findall(_SHIFT, shifts))
    if not _EARLIEST_MS <= ms <= _LATEST_MS:
        raise ValueError(f"expected an instant in the years 1 to 9999, got {written!r}")
    return ms


def _shift(written: str) -> int:
    compact = "".join(written.split())
    return parse_duration(compact[1:]) * (-1 if compact[0] == "-" else 1)


def first_instant(steps: Sequence[StepForm]) -> str:
    """Return the first instant in the first step, or the default: the start of a scenario that names none."""
    events = [steps[0].event, *steps[0].events]
    for written in (steps[0].at, *(event.get("timestamp") for event in events)):
        if isinstance(written, str) and parse_instant(written) is not None:
            return written
    return DEFAULT_START


def profile_id(written: str) -> str:
    """Return the id of a profile; a bare name is a user id.

    >>> profile_id("ann"), profile_id("email:ann@example.com")
    ('user_id:ann', 'email:ann@example.com')
    """
    return written if written.startswith(_IDENTIFIERS) else f"user_id:{written}"


class StepReader:
    """Reads the steps of one scenario in order and follows its clock and its segments."""

    def __init__(
        self, document: Document, location: Location, start_ms: int, published: PublishedSegments
    ) -> None:
        self._document = document
        self._location = location
        self._published = published
        self._known = published.known
        self.start_ms = self._clock_ms = start_ms

    def read(self, form: StepForm, index: int) -> ScenarioStep:
        """Read a step; mistakes are reported to the document."""
        loc = (*self._location, "steps", index)
        written = form.model_fields_set
        if not written:
            self._document.refuse(loc, "expected a step with at least one key")
        at_ms = self._move(form, loc)
        listings, bound = self._put_lists(form, loc)
        segments = self._publish(form, loc) or bound
        events = self._events(form, loc)
        return ScenarioStep(
            index + 1,
            self._document.line(loc),
            at_ms,
            events,
            self._expect(form.expect, (*loc, "expect")) if "expect" in written else None,
            self._changes(form.changes, (*loc, "changes")) if "changes" in written else None,
            self._members(form.members, (*loc, "members")) if "members" in written else None,
            segments,
            listings,
        )

    def _put_lists(
        self, form: StepForm, loc: Location
    ) -> tuple[tuple[tuple[str, str, int], ...], SegmentSet | None]:
        listings: list[tuple[str, str, int]] = []
        segments = None
        for key, written in form.lists.items():
            found = ListForm(ids=written) if isinstance(written, list) else written
            until = self._instant(found.expires, (*loc, "lists", key, "expires")) if found.expires else None
            version, segments = self._published.put_list(key, until, (*loc, "lists", key))
            listings += [(profile_id(each), key, version) for each in found.ids]
        return tuple(listings), segments

    def _publish(self, form: StepForm, loc: Location) -> SegmentSet | None:
        written, published = form.model_fields_set, self._published
        before, segments = published.known, None
        if {"apply", "retire"} <= written:
            self._document.refuse(loc, "expected either apply or retire")
        elif "apply" in written:
            segments = published.apply(form.apply, (*loc, "apply"))
        elif "retire" in written:
            segments = published.retire(form.retire, (*loc, "retire"))
        after = published.known
        # The changes of this step include exits from segments that it retires.
        self._known = None if before is None or after is None else before | after
        return segments

    def _instant(self, written: str, loc: Location) -> int | None:
        try:
            return shifted_instant(written, self.start_ms)
        except ValueError as error:
            self._document.refuse(loc, str(error))
            return None

    def _move(self, form: StepForm, loc: Location) -> int:
        if "at" in form.model_fields_set:
            at_ms = self._instant(form.at, (*loc, "at"))
            if at_ms is not None and at_ms < self._clock_ms:
                here = format_instant(self._clock_ms)
                self._document.refuse(
                    (*loc, "at"), f"expected an instant not before the clock, which is at {here}"
                )
            self._clock_ms = max(self._clock_ms, at_ms or self._clock_ms)
        return self._clock_ms

    def _events(self, form: StepForm, loc: Location) -> tuple[tuple[bytes, str], ...]:
        if {"event", "events"} <= form.model_fields_set:
            self._document.refuse(loc, "expected either event or events")
        written = [((*loc, "events", i), event) for i, event in enumerate(form.events)]
        if "event" in form.model_fields_set:
            written.insert(0, ((*loc, "event"), form.event))
        found = [(self._event(dict(event), each), str(each)) for each, event in written]
        return tuple((line, default_id) for line, default_id in found if line is not None)

    def _event(self, event: dict[Any, Any], loc: Location) -> bytes | None:
        """Encode an event and advance the clock to its time; return None if the event is invalid."""
        for key in event:
            if key not in EVENT_FIELDS:
                self._document.refuse((*loc, str(key)), "unknown event field")
        event.setdefault("type", "track")
        if not any(name in event for name in _TIMES):
            event["timestamp"] = format_instant(self._clock_ms)
        elif isinstance(event.get("timestamp"), str):
            time_ms = self._instant(event["timestamp"], (*loc, "timestamp"))
            event["timestamp"] = format_instant(self._clock_ms if time_ms is None else time_ms)
        try:
            line = msgspec.json.encode(event)
            routed = route(line, now_ms=MAX_MS, default_time_ms=None)
            decode(line, time_ms=routed.time_ms, default_id="")
        except (RejectedEvent, TypeError, ValueError) as error:
            self._document.refuse(loc, f"invalid event: {error}")
            return None
        self._clock_ms = max(self._clock_ms, routed.time_ms)
        return line

    def _segment(self, key: str, loc: Location) -> str:
        if self._known is not None and key not in self._known:
            self._document.refuse(loc, f"unknown segment {key}")
        return key

    def _expect(self, form: ExpectForm, loc: Location) -> tuple[tuple[str, str], ...]:
        lists = {"entered": form.entered, "exited": form.exited}
        return tuple(
            sorted(
                (action, self._segment(key, (*loc, action, i)))
                for action, keys in lists.items()
                for i, key in enumerate(keys)
            )
        )

    def _changes(self, forms: Sequence[ChangeForm], loc: Location) -> tuple[Mapping[str, str], ...]:
        return tuple(self._change(form, (*loc, i)) for i, form in enumerate(forms))

    def _change(self, form: ChangeForm, loc: Location) -> Mapping[str, str]:
        self._segment(form.segment, (*loc, "segment"))
        fields = {
            name: "none" if value is None else str(value)
            for name, value in form
            if name in form.model_fields_set
        }
        if "profile" in fields:
            fields["profile"] = profile_id(form.profile)
        for name in ("occurred_at", "flips_at"):
            instant = getattr(form, name)
            if name in fields and instant is not None:
                fields[name] = format_instant(self._instant(instant, (*loc, name)) or 0)
        if "flips_at" in fields and form.flips_at is None:
            fields["flips_at"] = "never"
        return fields

    def _members(self, form: Mapping[str, Sequence[str]], loc: Location) -> Mapping[str, Sequence[str]]:
        return {
            profile_id(name): sorted(self._segment(key, (*loc, name, i)) for i, key in enumerate(keys))
            for name, keys in form.items()
        }
