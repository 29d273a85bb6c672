"""The records of scans: requests on the control topic, and the answers of the partitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from segops.core.errors import SegopsError, UserError
from segops.core.scans import (
    FOLLOWED_SHARE,
    MAX_OVERLAP,
    MAX_SAMPLES,
    Estimate,
    Forecast,
    Overlap,
    Plan,
    Populations,
    Result,
)
from segops.core.segments import Definition
from segops.schemas.records import Headers
from segops.schemas.segments import definition_from_record, definition_to_record
from segops.schemas.shared_models import Shared, shared, whole

#: The value of the header ``segops-type`` of a request.
SCAN: Final = b"scan"
#: The header of an answer: the number of its part, and of how many (``0/1``).
PART_HEADER: Final = "segops-part"
#: The most bytes of one part, well below a broker's limit of 1 MiB.
PART_BYTES: Final = 400_000
#: The most bytes of a request, so that every broker takes it.
MAX_REQUEST_BYTES: Final = 900_000
_MAX_ID: Final = 200


class ForecastRequest(msgspec.Struct, tag_field="kind", tag="forecast", frozen=True):
    """A request for the forecast of some segments; none: of all."""

    segments: tuple[str, ...] = ()


class OverlapRequest(msgspec.Struct, tag_field="kind", tag="overlap", frozen=True):
    """A request for the overlap of 2 to ``MAX_OVERLAP`` segments."""

    segments: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise ValueError for too few, too many or repeated segments."""
        if not 2 <= len(self.segments) <= MAX_OVERLAP:
            raise ValueError(f"expected 2 to {MAX_OVERLAP} segments, got {len(self.segments)}")
        if len(set(self.segments)) < len(self.segments):
            raise ValueError("expected different segments, got one of them twice")


class EstimateRequest(msgspec.Struct, tag_field="kind", tag="estimate", frozen=True):
    """A request for the estimate of the draft ``segment``, one of some ``definitions``.

    These are in the form of the segments topic, their ``models`` beside them, and take the place of published
    ones with the same keys.
    ``share``, ``samples``, ``funnel``, ``near``: see ``Estimator``.
    """

    segment: str
    definitions: tuple[msgspec.Raw, ...]
    share: float = 1.0
    samples: int = 0
    funnel: bool = False
    near: int = 0
    models: dict[str, msgspec.Raw] = {}

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of its range."""
        if not 0 < self.share <= 1:
            raise ValueError(f"expected a share above 0 and up to 1, got {self.share}")
        _check_samples(self.samples)
        _check_samples(self.near)

    def drafts(self) -> list[Definition]:
        """Return the definitions. Raises DefinitionError for an invalid one."""
        return _definitions(self.definitions, self.models)


def _check_samples(samples: int) -> None:
    if not 0 <= samples <= MAX_SAMPLES:
        raise ValueError(f"expected 0 to {MAX_SAMPLES} samples, got {samples}")


def _definitions(records: Iterable[msgspec.Raw], models: Mapping[str, msgspec.Raw]) -> list[Definition]:
    found = [definition_from_record(each) for each in whole(records, models)]
    return [each for each in found if each is not None]


def records_of(definitions: Iterable[Definition]) -> Shared:
    """Return definitions in the form of the segments topic, with their models beside them."""
    return shared(map(definition_to_record, definitions))


def estimate_request(
    segment: str,
    drafts: list[Definition],
    *,
    share: float = 1.0,
    samples: int = 0,
    funnel: bool = False,
    near: int = 0,
) -> EstimateRequest:
    """Return the request for the estimate of one of some definitions. Raises ValueError."""
    records, models = records_of(drafts)
    return EstimateRequest(segment, records, share, samples, funnel, near, models)


class Watch(msgspec.Struct, frozen=True):
    """Names the plans of one edit between which a ``share`` of the profiles is followed.

    A partition forgets the sample when a ``Cancel`` names the ``id`` as that of a scan.
    """

    id: str
    share: float

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of its range."""
        if not 0 < len(self.id) <= _MAX_ID:
            raise ValueError(f"expected the id of a watch of 1 to {_MAX_ID} characters, got {len(self.id)}")
        if not 0 < self.share <= FOLLOWED_SHARE:
            raise ValueError(f"expected a share above 0 and up to {FOLLOWED_SHARE}, got {self.share}")


class PlanRequest(msgspec.Struct, tag_field="kind", tag="plan", frozen=True, omit_defaults=True):
    """A request for the plan of an edit of the definitions whose version is ``base``.

    ``definitions``: the new and changed ones, in the form of the segments topic, with their ``models`` beside
    them; ``removed``: the keys of those that end; ``samples``: how many profiles of each kind to name.
    ``draft``: the plan for which the history that they need is collected, and waited for; "": what needs any
    is left out. ``watch``: whether a sample is followed from one such request to the next.
    """

    base: str
    definitions: tuple[msgspec.Raw, ...]
    removed: tuple[str, ...] = ()
    samples: int = 0
    draft: str = ""
    watch: Watch | None = None
    models: dict[str, msgspec.Raw] = {}

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of its range."""
        _check_samples(self.samples)

    def changed(self) -> list[Definition]:
        """Return the definitions. Raises DefinitionError for an invalid one."""
        return _definitions(self.definitions, self.models)


class PopulationRequest(msgspec.Struct, tag_field="kind", tag="population", frozen=True):
    """A request for the populations of models, such as ``rfm``, that published rules read."""

    models: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise ValueError for no model, and for one that is named twice."""
        if not self.models or len(set(self.models)) < len(self.models):
            raise ValueError("expected one or more different models")


class Cancel(msgspec.Struct, tag_field="kind", tag="cancel", frozen=True):
    """A request to end the scan, or the watch, with the same id."""


#: What a scan may be asked to compute.
Question = ForecastRequest | OverlapRequest | EstimateRequest | PlanRequest | PopulationRequest


class ScanRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request for a scan, or to end one. The client chooses ``scan``, the id that answers name.

    It may be repeated: a partition that runs the scan, or has answered it, ignores the repetition.
    ``expires_ms``: the wall-clock time at which no one waits for the answer any more. ``partitions``: those
    that are asked (none: all).
    """

    scan: str
    expires_ms: int
    ask: Question | Cancel
    partitions: tuple[int, ...] = ()


RUNNING: Final = "running"
DONE: Final = "done"
REFUSED: Final = "refused"
BUSY: Final = "busy"
BEHIND: Final = "behind"
FAILED: Final = "failed"


class Answer(msgspec.Struct, omit_defaults=True):
    """The answer of one partition to a scan.

    ``state``: ``running`` (a note of progress), ``done`` (with a ``result``), ``refused`` (the request is
    wrong), ``busy`` (too many scans wait), ``behind`` (other definitions are in force than those that the
    request is about) or ``failed``, these four with a ``reason``. ``profiles``: the number of profiles
    visited; ``unreadable``: of those left out because they are quarantined or cannot be read;
    ``definitions``: the version of the segments by which they were evaluated. Each profile was visited at a
    clock (ms) from ``from_ms`` to ``to_ms``. Of the ``total`` records of history that it waits for, ``read``
    are read.
    """

    scan: str
    partition: int
    state: str = RUNNING
    profiles: int = 0
    unreadable: int = 0
    definitions: str = ""
    from_ms: int = 0
    to_ms: int = 0
    reason: str | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    read: int = 0
    total: int = 0


class Scanned(msgspec.Struct, frozen=True):
    """The result over all partitions.

    Each of the ``profiles`` was visited at a clock (ms) of its partition from ``from_ms`` to ``to_ms``.
    ``unreadable``: the profiles left out because they are quarantined or cannot be read.
    """

    from_ms: int
    to_ms: int
    profiles: int
    unreadable: int
    result: Any


class ScanRefused(UserError):
    """A partition refused the request: the segments or the draft cannot be used."""


class ScanBusy(SegopsError):
    """Too many scans wait already."""


class ScanBehind(SegopsError):
    """A partition has not adopted the published definitions yet."""


class ScanTimeout(SegopsError):
    """Not all partitions answered in time."""


_encoder = msgspec.json.Encoder()
_request = msgspec.json.Decoder(ScanRequest)
_answer = msgspec.json.Decoder(Answer)
_RESULTS: Final[dict[type, Any]] = {
    ForecastRequest: msgspec.json.Decoder(Forecast),
    OverlapRequest: msgspec.json.Decoder(Overlap),
    EstimateRequest: msgspec.json.Decoder(Estimate),
    PlanRequest: msgspec.json.Decoder(Plan),
    PopulationRequest: msgspec.json.Decoder(Populations),
}


def encode_request(request: ScanRequest) -> bytes:
    """Encode a request. Raises ValueError if it is larger than a record may be."""
    value = _encoder.encode(request)
    if len(value) > MAX_REQUEST_BYTES:
        raise ValueError(f"the request has {len(value):,} bytes, more than {MAX_REQUEST_BYTES:,}")
    return value


def decode_request(value: bytes | None) -> ScanRequest:
    """Decode a request; its drafts stay undecoded. Raises ValueError for an invalid record."""
    try:
        found = _request.decode(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"invalid scan request: {error}") from error
    if not 0 < len(found.scan) <= _MAX_ID or "|" in found.scan:
        raise ValueError(f"scan must be a name of at most {_MAX_ID} characters, without |")
    return found


def encode_result(result: Result) -> msgspec.Raw:
    """Encode the result of a partition."""
    return msgspec.Raw(_encoder.encode(result))


def decode_result(question: Question, result: bytes) -> Any:
    """Decode the result of a question. Raises msgspec.MsgspecError for an invalid one."""
    return _RESULTS[type(question)].decode(result)


def encode_answer(answer: Answer) -> list[tuple[bytes, bytes, Headers]]:
    """Encode an answer as records (key, value, headers); one that is too large for a record is divided."""
    value, key = _encoder.encode(answer), f"{answer.scan}|{answer.partition}"
    parts = [value[at : at + PART_BYTES] for at in range(0, len(value), PART_BYTES)]
    return [
        (
            (f"{key}|{number}" if number else key).encode(),
            part,
            [(PART_HEADER, b"%d/%d" % (number, len(parts)))],
        )
        for number, part in enumerate(parts)
    ]


class AnswerReader:
    """Puts the answers to one scan together from the records of the topic, in the order of each partition.

    >>> reader = AnswerReader("s")
    >>> [reader.read(*record) for record in encode_answer(Answer("s", 3, profiles=7))][0].profiles
    7
    """

    def __init__(self, scan: str) -> None:
        self._prefix = f"{scan}|".encode()
        self._pieces: dict[bytes, list[bytes]] = {}

    def read(self, key: bytes | None, value: bytes | None, headers: Headers) -> Answer | None:
        """Return an answer with its last part; None for another record. Unreadable records are skipped."""
        if key is None or value is None or not key.startswith(self._prefix):
            return None
        partition = key.removeprefix(self._prefix).partition(b"|")[0]
        number, _, count = dict(headers).get(PART_HEADER, b"0/1").partition(b"/")
        if number == b"0":  # an earlier answer that a crash left incomplete ends here
            self._pieces[partition] = []
        parts = self._pieces.setdefault(partition, [])
        parts.append(value)
        if b"%d" % len(parts) != count:
            return None
        try:
            return _answer.decode(b"".join(parts))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
