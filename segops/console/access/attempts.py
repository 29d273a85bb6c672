"""Failed sign-ins: each makes the next one wait longer, per address and per name, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final, NamedTuple

_FREE: Final = 5
_FORGET_MS: Final = 3_600_000
_FIRST_MS: Final = 1_000
#: A name waits for a minute at most: strangers who guess it must not lock its owner out.
_LONGEST_MS: Final = {"address": 900_000, "name": 60_000}
_MAX_KEYS: Final = 10_000


class _Failures(NamedTuple):
    times: int
    last_ms: int
    until_ms: int


class Attempts:
    """Counts failures by key, ``kind:value``.

    >>> attempts = Attempts()
    >>> keys = keys_of("192.0.2.7", "ann")
    >>> for _ in range(6): attempts.failed(keys, now_ms=0)
    >>> attempts.wait_ms(keys, now_ms=0), attempts.wait_ms(keys, now_ms=1_000)
    (1000, 0)
    """

    def __init__(self, *, limit: int = _MAX_KEYS) -> None:
        self._limit = limit
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def wait_ms(self, keys: Iterable[str], *, now_ms: int) -> int:
        """Return how long these keys must wait before another attempt is looked at."""
        found = (self._failures.get(key) for key in keys)
        return max([0, *(each.until_ms - now_ms for each in found if each is not None)])

    def failed(self, keys: Iterable[str], *, now_ms: int) -> None:
        """Count a failure of each key."""
        for key in keys:
            before = self._failures.pop(key, None)
            if before is None or now_ms - before.last_ms > _FORGET_MS:
                before = _Failures(0, now_ms, now_ms)
            times = before.times + 1
            doubled = _FIRST_MS << min(max(times - _FREE - 1, 0), 20)
            pause_ms = 0 if times <= _FREE else min(doubled, _LONGEST_MS[key.partition(":")[0]])
            self._failures[key] = _Failures(times, now_ms, now_ms + pause_ms)
        while len(self._failures) > self._limit:
            self._failures.popitem(last=False)

    def succeeded(self, keys: Iterable[str]) -> None:
        """Forget the failures of a name, and the latest one of an address.

        An address keeps the others: a guesser with an account of their own must not begin afresh with it.
        """
        for key in keys:
            found = self._failures.pop(key, None)
            if found is not None and key.startswith("address:") and found.times > 1:
                self._failures[key] = _Failures(found.times - 1, found.last_ms, found.last_ms)


def keys_of(address: str, name: str = "") -> list[str]:
    """Return the keys of an attempt. An IPv6 host has a whole network of addresses: they are one key.

    >>> keys_of("2001:db8:1:2:3::4", "Ann ")
    ['address:2001:db8:1:2::', 'name:ann']
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        found = None
    if found is not None and found.version == 6:
        address = str(type(found)(int(found) >> 64 << 64))
    named = [f"name:{name.strip().lower()[:64]}"] if name.strip() else []
    return [f"address:{address}", *named]
