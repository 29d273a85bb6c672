"""Choose a broker: the most preferred kind that this machine can run."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from segops.brokers.base import BrokerFailed, BrokerRequest, BrokerUnavailable, Kind, LocalBroker, PassedOver
from segops.brokers.docker import Docker
from segops.brokers.embedded import Embedded
from segops.brokers.folder import kind_of
from segops.brokers.jvm import Jvm
from segops.brokers.own import Own

logger = logging.getLogger(__name__)

#: In order of preference.
KINDS: tuple[Kind, ...] = (Own(), Docker(), Jvm(), Embedded())
AUTO = "auto"
CLUSTER_SIZES = (1, 3)


def choose(
    data_dir: Path | None = None,
    *,
    prefer: str | None = None,
    brokers: int = 1,
    port: int | None = None,
    bootstrap_servers: str | None = None,
) -> LocalBroker:
    """Start a broker, or connect to the user's own. Use the result in a ``with`` block.

    ``data_dir`` holds data and logs (``None``: a temporary folder, removed at the end). ``prefer`` is the
    required kind; ``None`` or "auto" takes the first that works. A folder with data keeps its kind.
    ``bootstrap_servers`` is the user's own broker, which is never stopped. ``passed_over`` of the result
    explains the choice. Raises BrokerUnavailable with all reasons when no kind is available, and BrokerFailed
    when the required kind does not start.
    """
    if brokers not in CLUSTER_SIZES:
        raise BrokerUnavailable(f"expected 1 or 3 brokers, got {brokers}")
    candidates = _candidates(prefer)
    folder = data_dir or Path(tempfile.mkdtemp(prefix="segops-broker-"))
    try:
        chosen = _first(candidates, BrokerRequest(folder, brokers, port, bootstrap_servers))
    except BaseException:
        _remove(folder, temporary=data_dir is None)
        raise
    chosen.on_stop.append(lambda: _remove(folder, temporary=data_dir is None))
    return chosen


def obstacle(kind: str, *, brokers: int = 1, bootstrap_servers: str | None = None) -> str | None:
    """Return why this kind of broker is unavailable on this machine, or None. Quick; starts nothing."""
    (found,) = _candidates(kind)
    return found.obstacle(BrokerRequest(Path(), brokers, bootstrap_servers=bootstrap_servers))


def _candidates(prefer: str | None) -> Sequence[Kind]:
    if prefer in (None, AUTO):
        return KINDS
    found = [kind for kind in KINDS if kind.name == prefer]
    if not found:
        names = ", ".join((AUTO, *(kind.name for kind in KINDS)))
        raise BrokerUnavailable(f"unknown kind of broker {prefer!r} (one of: {names})")
    return found


def _first(candidates: Sequence[Kind], request: BrokerRequest) -> LocalBroker:
    passed: list[PassedOver] = []
    stored = kind_of(request.data_dir)
    for kind in candidates:
        reason = _conflict(kind, stored, request.data_dir) or kind.obstacle(request)
        if reason is None:
            try:
                return _announce(kind.start(request), passed)
            except BrokerFailed as error:
                if len(candidates) == 1:
                    raise
                reason = str(error)
        passed.append(PassedOver(kind.name, reason))
    raise BrokerUnavailable("no broker is available:\n" + "\n".join(f"  {each}" for each in passed))


def _conflict(kind: Kind, stored: str | None, folder: Path) -> str | None:
    if stored in (None, kind.name) or kind.name == Own.name:
        return None
    return f"{folder} holds the data of a broker of kind {stored}; use another folder for another kind"


def _announce(broker: LocalBroker, passed: Sequence[PassedOver]) -> LocalBroker:
    broker.passed_over = tuple(passed)
    for each in passed:
        logger.info("broker passed over: %s", each)
    logger.info("broker: %s at %s", broker.name, broker.bootstrap_servers)
    return broker


def _remove(folder: Path, *, temporary: bool) -> None:
    if temporary:
        shutil.rmtree(folder, ignore_errors=True)
