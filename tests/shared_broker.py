"""One broker for all processes of a test run: the first that needs it starts it, the last to finish stops it.

A keeper process owns the broker. Every test process holds a shared lock on one file, which the operating
system releases even if the process is killed. When the keeper acquires that lock exclusively, no process uses
the broker any more.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segops.brokers import LocalBroker, PassedOver, choose
from segops.brokers.network import wait_for
from segops.config import load
from segops.kafka.clients import running_admin

_START_S, _STOP_S = 300.0, 60.0


@contextmanager
def shared_broker(folder: Path, kind: str) -> Iterator[LocalBroker]:
    """Yield the broker of the run whose files are in ``folder``, starting it if necessary.

    The yielded broker has an address but no nodes to control. Raises RuntimeError in every process of the run
    if the broker cannot be started.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "users", fcntl.LOCK_SH):
        with _locked(folder / "start", fcntl.LOCK_EX):
            if not _facts(folder).exists():
                _start_keeper(folder, kind)
        yield _broker(folder)


def delete_topics(broker: LocalBroker, prefix: str) -> None:
    """Delete the topics of a test: those of hundreds would fill the memory of the run's broker.

    A broker of one test alone, which has nodes to control, ends with it.
    """

    async def delete() -> None:
        async with running_admin(load(kafka={"bootstrap_servers": broker.bootstrap_servers}).kafka) as admin:
            found = [each for each in await admin.list_topics() if each.startswith(prefix)]
            if found:
                await admin.delete_topics(found)

    if not broker.nodes:
        asyncio.run(delete())


def used_broker(folder: Path) -> tuple[str, list[str]] | None:
    """Return the name of the run's broker and the kinds passed over, or None if no test needed a broker."""
    if not _facts(folder).exists():
        return None
    facts = json.loads(_facts(folder).read_text())
    return facts.get("name", "none"), [": ".join(each) for each in facts.get("passed_over", [])]


def wait_until_stopped(folder: Path) -> bool:
    """Wait for the run's broker, if any, to stop; return whether it has."""
    return wait_for(lambda: not _facts(folder).exists(), within_s=_STOP_S)


def _facts(folder: Path) -> Path:
    return folder / "broker.json"


@contextmanager
def _locked(file: Path, mode: int) -> Iterator[None]:
    with file.open("a") as lock:
        fcntl.flock(lock, mode)
        yield


def _start_keeper(folder: Path, kind: str) -> None:
    command = [sys.executable, "-m", "tests.shared_broker", str(folder), kind]
    with (folder / "keeper.log").open("ab") as log:
        # A new session, so that Ctrl-C does not stop the broker before the tests that still use it.
        subprocess.run(
            command,
            cwd=Path(__file__).parents[1],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            check=True,
        )
    if not wait_for(lambda: _facts(folder).exists(), within_s=_START_S):
        raise RuntimeError(f"the broker did not start within {_START_S} s; see {folder / 'keeper.log'}")


def _broker(folder: Path) -> LocalBroker:
    facts = json.loads(_facts(folder).read_text())
    if "error" in facts:
        raise RuntimeError(facts["error"])
    passed_over = tuple(PassedOver(*each) for each in facts["passed_over"])
    return LocalBroker(facts["kind"], facts["name"], facts["servers"], passed_over=passed_over)


def keep(folder: Path, kind: str) -> None:
    """Start a broker, publish its address in ``folder`` and stop it when its last user has finished."""
    try:
        with choose(folder / "data", prefer=kind) as broker:
            passed_over = [(each.kind, each.reason) for each in broker.passed_over]
            facts = {"kind": broker.kind, "name": broker.name, "servers": broker.bootstrap_servers}
            _write_facts(folder, {**facts, "passed_over": passed_over})
            with _locked(folder / "users", fcntl.LOCK_EX):
                broker.stop()
                _facts(folder).unlink()
    except Exception as error:
        _write_facts(folder, {"error": f"{type(error).__name__}: {error}"})


def _write_facts(folder: Path, facts: dict[str, object]) -> None:
    draft = folder / "broker.draft"
    draft.write_text(json.dumps(facts))
    os.replace(draft, _facts(folder))


if __name__ == "__main__":
    if os.fork() == 0:  # the keeper outlives the process that starts it
        keep(Path(sys.argv[1]), sys.argv[2])
