"""``segops console`` as a process beside a stack, and the other processes whose work its pages show."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .deliveries import OPERATOR
from .helpers import Stack, wait_until
from .pages import page

_MAIN = ["-P", "-c", "from segops.cli import main; main()"]


class ConsoleProcess:
    """Processes of the console, one after the other, on two ports; open to this machine."""

    def __init__(self, stack: Stack, ports: Sequence[int], **variables: str) -> None:
        self.stack = stack
        self.port, self.web_port = ports
        self.variables = variables
        self.log = stack.folder / "console.log"
        self.process = self.start()

    @property
    def url(self) -> str:
        """The address of its pages."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> subprocess.Popen[bytes]:
        """Start a process, and wait until its read model is current."""
        names = {"CONSOLE_PORT": self.port, "CONSOLE_WEB_PORT": self.web_port}
        given = {f"SEGOPS_{name}": str(port) for name, port in names.items()}
        self.process = run_beside(self.stack, ["console"], self.log, **given, **self.variables)
        wait_until(lambda: page(self.web_port, "/readyz") == "ready\n", "the console is current", self.said)
        return self.process

    def said(self) -> str:
        """Return its log, for the message of a failed wait."""
        return self.log.read_text() if self.log.exists() else ""

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.wait()


def run_beside(stack: Stack, command: list[str], log: Path, **variables: str) -> subprocess.Popen[bytes]:
    """Run a command of segops for a stack's application; the stack stops it with its workers."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("SEGOPS_")},
        "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "SEGOPS_TOPIC_PREFIX": stack.name,
        "SEGOPS_PARTITIONS": str(stack.partitions),
        "SEGOPS_APP_ID": stack.settings.worker.app_id,
        "SEGOPS_WEB_PORT": str(stack.port(0)),
        **OPERATOR,
        **variables,
    }
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, *_MAIN, *command], env=environment, stdout=file, stderr=file
        )
    stack.workers.append(process)
    return process
