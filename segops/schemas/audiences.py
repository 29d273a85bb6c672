"""Audiences as written in files and on their topic, to and from validated ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from segops.core.audiences.budgets import LONGEST_MS
from segops.core.audiences.compiling import TRAIT, goal_window_ms
from segops.core.audiences.model import (
    CHANNELS,
    EXISTING,
    QUIETABLE,
    TELLING,
    Audience,
    AudienceRecord,
    Delivery,
    HoldOut,
    Limits,
    Rate,
)
from segops.core.errors import DefinitionError, Issue
from segops.core.rules.parsing import PERCENTAGE, Context, Reader, read_alerts
from segops.core.values import UNIT_MS
from segops.schemas.written import check_bounds

#: As long as the key of a segment, and shown with ``audience.`` before it.
AUDIENCE_KEY: Final = r"[a-z0-9][a-z0-9-]{0,63}"
PURPOSE: Final = r"[a-z0-9][a-z0-9_-]{0,63}"
#: What is sent along: an indicator, a digit or tier of RFM, a score, or a trait.
SENT_ALONG: Final = r"(indicator|trait)\.[^\s].{0,200}"
MAX_LISTED: Final = 100
#: A published audience is one record, with its plan and approval.
MAX_BYTES: Final = 100_000
_MAX_TEXT: Final = 1_000
_WHOLE: Final = 10_000
_TOPIC: Final = "audiences topic"
_HOLD_OUT: Final = "{salt: winback, percent: 10}"
_RATE: Final = "{at_most: 2, per: 7d}"
#: The keys of a delivery's options are the destination's own.
OPTION: Final = r"[a-z][a-z0-9_]{0,63}"

_decoder = msgspec.json.Decoder(AudienceRecord)


def encode_record(record: AudienceRecord) -> bytes:
    """Encode the record that publishes an audience."""
    return msgspec.json.encode(record)


def decode_record(value: bytes) -> AudienceRecord:
    """Decode a published record. Raises DefinitionError for an invalid one: any client may write it."""
    try:
        record = _decoder.decode(value)
        check_bounds(record.audience.written)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DefinitionError([Issue(_TOPIC, "-", f"invalid record: {error}")]) from None
    audience = read_audience(record.audience.written, "audience", Context(_TOPIC))
    return msgspec.structs.replace(record, audience=audience)


def read_audience(raw: Any, path: str, context: Context) -> Audience:
    """Read an audience as written. Raises DefinitionError with every mistake.

    >>> read_audience({"key": "a", "segment": "vip"}, "audiences[0]", Context("shop.yaml"))
    Traceback (most recent call last):
    segops.core.errors.DefinitionError: shop.yaml: audiences[0].channel: missing key
    """
    reader = Reader(raw, path, context)
    if not isinstance(raw, dict) or not all(isinstance(key, str) for key in raw):
        reader.fail(f"expected a map with {', '.join(_REQUIRED)}, got {raw!r:.40}")
    missing = [key for key in _REQUIRED if key not in raw]
    if missing:
        reader.at(missing[0]).fail("missing key")
    known = [key for key in _READS if key in raw]
    reads = (partial(_READS[key], reader.at(key)) for key in known)
    found = reader.gather(partial(reader.only, *_READS), *reads)[1:]
    audience = Audience(**dict(zip(known, found, strict=True)), written=raw)
    if (size := len(msgspec.json.encode(raw))) > MAX_BYTES:
        reader.fail(f"expected at most {MAX_BYTES:,} bytes as JSON, got {size:,}")
    if audience.segment in audience.suppress:
        reader.at("suppress").fail(f"never holds: {audience.segment} is the segment of the audience")
    return audience


def parse_rate(text: str) -> Rate | None:
    """Return a rate that is written as a number and a unit of time; None if it is not.

    >>> parse_rate("1000/h"), parse_rate("0/h"), parse_rate("fast")
    (Rate(at_most=1000, per_ms=3600000), None, None)
    """
    number, _, unit = text.partition("/")
    if (
        not (number.isascii() and number.isdecimal() and len(number) < 16 and int(number))
        or unit not in UNIT_MS
    ):
        return None
    return Rate(int(number), UNIT_MS[unit])


def read_audiences(written: Sequence[Any], source: str, issues: list[Issue]) -> list[Audience]:
    """Read the audiences of a file; mistakes are added to ``issues``."""
    found: list[Audience] = []
    for i, raw in enumerate(written):
        path = f"audiences[{i}]"
        try:
            audience = read_audience(raw, path, Context(source))
        except DefinitionError as error:
            issues += error.issues
            continue
        if audience.key in (each.key for each in found):
            issues.append(Issue(source, f"{path}.key", f"duplicate key {audience.key!r}"))
        found.append(audience)
    return found


def _matching(pattern: str, expected: str) -> Callable[[Reader], str]:
    def read(reader: Reader) -> str:
        if not isinstance(reader.raw, str) or re.fullmatch(pattern, reader.raw) is None:
            reader.fail(f"expected {expected}, got {reader.raw!r:.80}")
        return reader.raw

    return read


_segment_key = _matching(AUDIENCE_KEY, "a key of at most 64 lower-case letters, digits and hyphens")
_property = _matching(SENT_ALONG, "indicator.KEY or trait.PATH (publish a tier or a score as an indicator)")


def _suppressed(reader: Reader) -> str:
    text = reader.text()
    if not text.startswith(TRAIT):
        return _segment_key(reader)
    reader.with_raw(text.removeprefix(TRAIT)).trait()
    return text


def _listed(read: Callable[[Reader], Any], expected: str, reader: Reader) -> tuple[Any, ...]:
    items = reader.items(f"a list of 1 to {MAX_LISTED} {expected}", MAX_LISTED)
    found = reader.gather(*(partial(read, item) for item in items))
    for i, item in enumerate(items):
        if found[i] in found[:i]:
            item.fail(f"{item.raw!r:.80} is there twice")
    return tuple(found)


def _hold_out(reader: Reader) -> HoldOut:
    salt, share = reader.record({"salt": _salt, "percent": _percent}, _HOLD_OUT)
    return HoldOut(salt, share)


def _salt(reader: Reader) -> str:
    if not reader.text() or len(reader.raw) > 200:
        reader.fail(f"expected a text of 1 to 200 characters, got {reader.raw!r:.80}")
    return reader.text()


def _percent(reader: Reader) -> int:
    """Read a number of percent, with at most two decimals; return hundredths."""
    hundredths = reader.number(0, 100, "a percentage above 0 and below 100") * 100
    if hundredths != int(hundredths) or not 0 < hundredths < _WHOLE:
        reader.fail(f"expected a percentage above 0 and below 100, with two decimals, got {reader.raw!r}")
    return int(hundredths)


def _share(reader: Reader) -> int:
    """Read a share such as ``20%``; return hundredths of a percent."""
    found = re.fullmatch(PERCENTAGE, reader.raw) if isinstance(reader.raw, str) else None
    share = 0 if found is None or found[1] else int(found[2]) * 100 + int((found[3] or "").ljust(2, "0"))
    if not 0 < share <= _WHOLE:
        reader.fail(f"expected a share above 0% and up to 100%, such as 20%, got {reader.raw!r}")
    return share


def _positive(reader: Reader) -> int:
    return reader.integer(1)


def _rate(reader: Reader) -> Rate:
    at_most, per_ms = reader.record({"at_most": _positive, "per": Reader.positive_duration}, _RATE)
    return Rate(at_most, per_ms)


def _limit(reader: Reader) -> Rate:
    rate = _rate(reader)
    if rate.per_ms > LONGEST_MS:
        reader.fail("expected per of at most 31d")
    return rate


def _limits(reader: Reader) -> Limits:
    reads = {"members": _positive, "share": _share, "entries": _limit, "exits": _limit}
    return Limits(**reader.fields(reads))


def _reasons(reader: Reader) -> Mapping[str, str]:
    return reader.fields(dict.fromkeys(QUIETABLE, lambda each: each.one_of(TELLING)))


def _delivery(reader: Reader) -> Delivery:
    raw = reader.raw
    if not isinstance(raw, dict) or "to" not in raw:
        reader.fail("expected a map with to, such as {to: crm-hook}")
    options = {key: each for key, each in raw.items() if key != "to"}
    odd = [key for key in options if not isinstance(key, str) or re.fullmatch(OPTION, key) is None]
    if odd:
        reader.at(odd[0]).fail("expected the name of an option: lower-case letters, digits and underscores")
    to, *_ = reader.gather(
        partial(_segment_key, reader.at("to")), *(partial(_option, reader.at(key)) for key in options)
    )
    return Delivery(to, options)


def _option(reader: Reader) -> None:
    values = reader.scalars() if isinstance(reader.raw, list) else (reader.scalar(),)
    if len(values) > MAX_LISTED or any(len(str(each)) > _MAX_TEXT for each in values):
        reader.fail(f"expected at most {MAX_LISTED} values of at most {_MAX_TEXT:,} characters")


def _goal(reader: Reader) -> Any:
    is_did = isinstance(reader.raw, dict) and "did" in reader.raw
    if not is_did or goal_window_ms(reader.raw, reader.path, reader.context) is None:
        reader.fail("expected a did node with within, such as {did: Order Completed, within: 7d}")
    return reader.raw


def _alert(reader: Reader) -> Any:
    read_alerts(reader.raw, reader.path, reader.context)
    return reader.raw


def _text(most: int, reader: Reader) -> str:
    if len(reader.text()) > most:
        reader.fail(f"expected at most {most:,} characters, got {len(reader.raw):,}")
    return reader.text()


_REQUIRED: Final = ("key", "segment", "channel")
#: Key of an audience -> the reader of its value.
_READS: Final[Mapping[str, Callable[[Reader], Any]]] = {
    "key": _segment_key,
    "segment": _segment_key,
    "channel": lambda reader: reader.one_of(CHANNELS),
    "purpose": _matching(PURPOSE, "a purpose of lower-case letters, digits, hyphens and underscores"),
    "suppress": partial(_listed, _suppressed, "keys of segments, or traits as trait.PATH"),
    "hold_out": _hold_out,
    "frequency": _rate,
    "existing": lambda reader: reader.one_of(EXISTING),
    "reasons": _reasons,
    "limits": _limits,
    "deliver": partial(_listed, _delivery, "destinations"),
    "properties": partial(_listed, _property, "values to send along"),
    "goal": _goal,
    "alert": _alert,
    "name": partial(_text, 200),
    "description": partial(_text, 2_000),
}
