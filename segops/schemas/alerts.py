"""The records of the topic ``segops.alerts``: which alerts fire, and up to when all are evaluated.

The topic is compacted and has one partition. An alert is keyed by segment and text; its latest record says
whether it fires. A key without a record has never fired, or its alert is no longer defined.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from segops.core.rules.alerts import Alert

#: The key of the record that says up to when the alerts are evaluated; no segment has it.
EVALUATED_KEY: Final = b"$evaluated"

#: ``withdrawn``: the alert was firing, and is no longer defined.
AlertState = Literal["firing", "recovered", "withdrawn"]


class AlertRecord(msgspec.Struct, frozen=True):
    """An alert of a segment that begins to fire, or stops.

    ``since_ms`` is the end of the minute (or hour) at which it began to fire. ``alert_id`` names this
    crossing: a second record with the same id and state is a repetition. ``at_ms``: the end of the minute
    that the record is about. ``number``: the members then, or the entries or exits of the window until then;
    ``former``: the members one window earlier, of an alert on a change of the size.
    """

    alert_id: str
    segment_key: str
    alert: str
    state: AlertState
    since_ms: int
    at_ms: int
    number: int
    former: int | None = None


class Evaluated(msgspec.Struct, frozen=True):
    """All alerts are evaluated on the minutes before ``until_ms``, by the records of a generation."""

    generation: int
    until_ms: int


_encoder = msgspec.json.Encoder()
_record = msgspec.json.Decoder(AlertRecord)
_evaluated = msgspec.json.Decoder(Evaluated)


def alert_key(segment_key: str, alert: Alert) -> bytes:
    """Return the key under which an alert is published.

    >>> alert_key("vip", Alert("members", at_least=100))
    b'vip|members at_least 100'
    """
    return f"{segment_key}|{alert.text}".encode()


def alert_id(name: str, generation: int, since_ms: int) -> str:
    """Return the id of a crossing; ``name``: the key of the alert as text.

    >>> alert_id("vip|members at_least 100", 0, 60_000)
    'vip|members at_least 100|0|60000'
    """
    return f"{name}|{generation}|{since_ms}"


def encode_alert(record: AlertRecord | Evaluated) -> bytes:
    """Encode the value of a record."""
    return _encoder.encode(record)


def decode_alert(value: bytes) -> AlertRecord:
    """Decode the record of an alert. Raises msgspec.MsgspecError for an invalid one."""
    return _record.decode(value)


def decode_evaluated(value: bytes) -> Evaluated:
    """Decode the record under ``EVALUATED_KEY``. Raises msgspec.MsgspecError for an invalid one."""
    return _evaluated.decode(value)
