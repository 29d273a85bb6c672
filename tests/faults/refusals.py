"""Faults of a service that keeps lists: wrong credentials, a list that is gone, refused records, failures."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from ..destinations.klaviyo_server import KEY, KlaviyoLists
from ..destinations.receiver import Receiver
from ..streaming.deliveries import Delivery
from ..streaming.helpers import wait_until
from .cluster import Case
from .deliveries import NO_CONSENT, approve, publish
from .facts import Facts, Finding

_LIST = "L1"
_WRONG = "pk_wrong_0123456789"
_AUDIENCE = """
version: 1
audiences:
  - key: winback
    segment: seldom
    channel: email
    existing: send
    limits: {exits: {at_most: 1000000, per: 1h}}
    deliver: [{to: klaviyo, list: L1}]
"""
_DESTINATIONS = """
version: 1
destinations:
  - {name: klaviyo, kind: klaviyo, url: "URL", key: {env: KLAVIYO_KEY}, timeout_s: 5}
"""
_FAILURES = ("429", "500", "reset", "lost", "slow", "")


def refused(case: Case) -> None:
    """Let a service refuse the key, fail in every way, lose the list, and refuse some people for good."""
    service = _Service(case)
    approve(case, KLAVIYO_KEY=KEY)
    case.load.start()
    fault = time.monotonic()
    service.with_wrong_key()
    service.while_it_fails()
    service.without_the_list()
    service.refuse_people()
    case.record_recovery(fault)
    case.settle()
    service.finish()


@contextmanager
def _served(account: KlaviyoLists) -> Iterator[str]:
    """Serve an account in a thread of its own during the block; yield the address."""
    loop, ready, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    urls: list[str] = []

    async def serve() -> None:
        async with account.serving() as url:
            urls.append(url)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait()
    try:
        yield urls[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


class _Service:
    """An account that an audience of a case is delivered to, and the process that delivers it."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._account = KlaviyoLists(_LIST)
        served = _served(self._account)
        url = served.__enter__()
        case.cleanups.append(partial(served.__exit__, None, None, None))
        publish(case, _AUDIENCE, _DESTINATIONS.replace("URL", url))
        self._delivery = Delivery(case.cluster, Receiver())
        self._running: list[subprocess.Popen[bytes]] = []

    def _restart(self, *, key: str = KEY) -> None:
        """Kill the process, and start one that does not wait for what the former one knew."""
        for each in self._running:
            each.kill()
            each.wait()
        self._running = [self._delivery.start(KLAVIYO_KEY=key, **NO_CONSENT)]

    def _wait_said(self, text: str) -> None:
        wait_until(lambda: text in self._delivery.diagnosis(), text, self._diagnosis)

    def _diagnosis(self) -> str:
        account = self._account
        return f"{account.calls[-30:]} {account.refused} {account.faults}\n{self._delivery.diagnosis()}"

    def with_wrong_key(self) -> None:
        """Deliver with a key that the service does not know; nothing may be dead by that."""
        self._restart(key=_WRONG)
        self._wait_said("takes nothing: status 401")
        assert not self._account.profiles

    def while_it_fails(self) -> None:
        """Deliver while requests fail, are slow, or are carried out without an answer."""
        self._account.faults = [self._case.rng.choice(_FAILURES) for _ in range(12)]
        self._restart()
        wait_until(lambda: not self._account.faults, "all have failed", self._diagnosis)

    def without_the_list(self) -> None:
        """Delete the list for a while."""
        members = self._account.lists.pop(_LIST)
        self._wait_said(f"the list {_LIST} does not exist")
        self._account.lists[_LIST] = members
        self._restart()

    def refuse_people(self) -> None:
        """Refuse every other person for good, until someone asks to try again."""
        known = sorted(self._expected())
        self._account.refuses = dict.fromkeys(known[::2], "refused")
        self._case.notes.append(f"{len(self._account.refuses)} refused")

    def _expected(self) -> set[str]:
        """Return the addresses of the members by the state topic."""
        latest = {each.key: each.value for each in self._case.cluster.read(self._state)}
        rows = [json.loads(each) for each in latest.values() if each is not None]
        return {
            each["email"] for each in rows if each["segment_key"] == "audience.winback" and each["member"]
        }

    @property
    def _state(self) -> str:
        return self._case.settings.topics.membership_state

    def finish(self) -> None:
        """Have refused people tried again, wait until the list is right, and add the check of it."""
        self._account.refuses = {}
        expected = self._expected()

        def is_right() -> bool:
            self._case.cluster.segops("deliveries", "retry", "winback")  # fails while none is dead
            return self._account.members(_LIST) == expected

        wait_until(is_right, "the list is right", self._diagnosis)
        for each in self._running:
            each.terminate()
            assert each.wait(60) == 0, self._delivery.diagnosis()
        self._case.circumstances.more_checks["refused"] = partial(_listed, self, expected)

    def findings(self, expected: set[str]) -> Iterator[Finding]:
        """Yield what is wrong in the list, or was told wrongly."""
        if self._account.members(_LIST) != expected or not expected:
            yield Finding("I16", "wrong", f"{self._account.members(_LIST)} in the list, expected {expected}")
        if over := [each for each in self._account.refused if "over a limit" in each]:
            yield Finding("I16", "wrong", f"requests over limits: {over}")
        if any(key in self._delivery.diagnosis() for key in (KEY, _WRONG)):
            yield Finding("I16", "wrong", "a key is in a log")


def _listed(service: _Service, expected: set[str], _facts: Facts) -> Iterator[Finding]:
    """Check I16: the list holds exactly the members."""
    return service.findings(expected)
