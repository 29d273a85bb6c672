"""Entries of the audit: who did what to an audience, when, from where, and what was seen. Signed."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from segops.core.audiences.model import Act, AudienceRecord, ReachPlan, Signed, State
from segops.core.audiences.states import Action

_SCHEME: Final = "hmac-sha256:"
Signature = Literal["signed", "unsigned", "forged"]


class AuditEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """An action on an audience. ``number`` counts them; ``previous`` is the hash of the one before.

    ``seen``: the plan that was in view. ``reach``: the members as measured for an approval. ``editions``: of
    what decided who is in, see ``ReachPlan``.
    """

    id: str
    audience: str
    number: int
    previous: str
    by: Act
    action: Action
    state_before: State
    state: State
    editions: Mapping[str, str] = {}
    seen: ReachPlan | None = None
    reach: int | None = None
    note: str = ""


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(AuditEntry)


def sign(entry: AuditEntry, key: bytes | None) -> Signed:
    """Encode and sign an entry; without a key it stays unsigned.

    >>> act = Act("ann", "person", True, "cli", 0)
    >>> entry = AuditEntry("1", "winback", 1, "", act, "hold", "active", "held")
    >>> signed = sign(entry, b"k" * 32)
    >>> verify(signed, [b"k" * 32]), verify(signed, [b"other"]), verify(sign(entry, None), [b"k" * 32])
    ('signed', 'forged', 'unsigned')
    """
    raw = _encoder.encode(entry)
    return Signed(msgspec.Raw(raw), "" if key is None else _signature(raw, key))


def verify(signed: Signed, keys: Iterable[bytes]) -> Signature:
    """Return whether one of the keys has signed these very bytes."""
    if not signed.signature:
        return "unsigned"
    raw = bytes(signed.entry)
    fits = [hmac.compare_digest(_signature(raw, key).encode(), signed.signature.encode()) for key in keys]
    return "signed" if any(fits) else "forged"


def _signature(raw: bytes, key: bytes) -> str:
    return _SCHEME + hmac.new(key, raw, hashlib.sha256).hexdigest()


def digest(signed: Signed) -> str:
    """Return the hash by which the next entry refers to this one."""
    return hashlib.sha256(bytes(signed.entry)).hexdigest()


def entry_of(signed: Signed) -> AuditEntry:
    """Decode an entry. Raises msgspec.MsgspecError for an invalid one."""
    return _decoder.decode(bytes(signed.entry))


class Trust(NamedTuple):
    """Which records are trusted: ``keys`` verify signatures; without any, unsigned ones are trusted, too."""

    keys: Sequence[bytes] = ()

    def approved(self, record: AudienceRecord) -> Mapping[str, str] | None:
        """Return the editions that an audience was approved with; None without an approval to be trusted.

        The audit entry of the record must say the same state: a client that can only write to the topic
        cannot make a held audience active.
        """
        key, latest, approval = record.audience.key, self._entry(record.latest), self._entry(record.approval)
        if latest is None or approval is None or approval.action != "approve":
            return None
        says = (latest.audience, latest.state, latest.number)
        same = says == (key, record.state, record.version) and approval.audience == key
        return approval.editions if same else None

    def _entry(self, signed: Signed | None) -> AuditEntry | None:
        if signed is None or (self.keys and verify(signed, self.keys) != "signed"):
            return None
        try:
            return entry_of(signed)
        except msgspec.MsgspecError:
            return None


class Finding(NamedTuple):
    """An entry as read, its signature, and ``gap``: what is odd about where it stands among the others."""

    entry: AuditEntry
    signature: Signature
    gap: str = ""


def examined(entries: Iterable[Signed], keys: Sequence[bytes]) -> Iterator[Finding]:
    """Yield the entries in their order, with their signatures and what is missing between them."""
    latest: dict[str, tuple[int, str]] = {}
    for signed in entries:
        entry = entry_of(signed)
        number, hashed = latest.get(entry.audience, (0, ""))
        gap = ""
        if entry.number != number + 1:
            gap = f"expected number {number + 1}, got {entry.number}"
        elif entry.previous != hashed:
            gap = "does not follow the entry before it"
        latest[entry.audience] = entry.number, digest(signed)
        yield Finding(entry, verify(signed, keys), gap)
