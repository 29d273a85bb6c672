"""Processes that deliver audiences, and the receiver that they deliver to."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from pathlib import Path

from tests.destinations.receiver import SECRET, Behave, Receiver

from .helpers import Stack, wait_until
from .test_audiences import AUDIENCE, SIGNED
from .test_scans import members

_MAIN = ["-P", "-c", "from segops.cli import main; main()"]
DESTINATIONS = """
version: 1
destinations:
  - {name: crm-hook, kind: webhook, url: "URL", secrets: [{env: HOOK_SECRET}], timeout_s: 5}
"""
#: What the machine of an operator has who looks at deliveries.
OPERATOR = {"HOOK_SECRET": SECRET, "SEGOPS_WEBHOOK_ALLOW": "127.0.0.1", **SIGNED}
SENT_TO_ALL = AUDIENCE.replace("    deliver:", "    existing: send\n    deliver:")


class Delivery:
    """Processes that deliver the audiences of a stack's application to a receiver."""

    def __init__(self, stack: Stack, receiver: Receiver) -> None:
        self.stack = stack
        self.receiver = receiver
        self._numbers = itertools.count()

    def start(self, **variables: str) -> subprocess.Popen[bytes]:
        """Start a process; the stack stops it with its workers."""
        number = next(self._numbers)
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("SEGOPS_")},
            "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": self.stack.bootstrap_servers,
            "SEGOPS_TOPIC_PREFIX": self.stack.name,
            "SEGOPS_PARTITIONS": str(self.stack.partitions),
            "SEGOPS_APP_ID": self.stack.settings.worker.app_id,
            "SEGOPS_DATA_DIR": str(self.stack.folder / f"activate-{number}"),
            "SEGOPS_ACTIVATE_WEB_PORT": "0",
            "SEGOPS_SESSION_TIMEOUT": "6s",
            **OPERATOR,
            **variables,
        }
        main = ["-m", "tests.faults.hooks"] if "FAULTS_REDIRECT" in variables else _MAIN
        with self.log(number).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *main, "activate"], env=environment, stdout=log, stderr=log
            )
        self.stack.workers.append(process)
        return process

    def log(self, number: int = 0) -> Path:
        """Return the log of a process."""
        return self.stack.folder / f"activate-{number}.log"

    def diagnosis(self) -> str:
        """Return the end of each log, for the message of a failed wait."""
        logs = sorted(self.stack.folder.glob("activate-*.log"))
        return "\n".join(path.read_text()[-3_000:] for path in logs) + self.stack.diagnosis()

    def equals_the_members(self) -> bool:
        """Return whether the receiver knows exactly the members."""
        return self.receiver.members("winback") == members(self.stack).get("audience.winback", set())

    def await_equality(self) -> None:
        """Wait until the receiver knows exactly the members."""
        wait_until(self.equals_the_members, "the destination knows the members", self.diagnosis)


def flaky(seed: int) -> Behave:
    """Return a behaviour that fails in every way in a drawn order."""
    rng = random.Random(seed)
    return lambda _message: rng.choice(["ok", "ok", "ok", "500", "429", "reset", "lost"])
