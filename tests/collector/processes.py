"""Processes of ``segops collect``, and requests to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segops.brokers.network import reserve_ports
from tests.streaming.helpers import Stack, wait_until

from .helpers import KEY, basic


class CollectorProcess:
    """A collector process of an application."""

    def __init__(self, stack: Stack, ports: list[int], **variables: str) -> None:
        self.port, self.web_port = ports
        self.log = stack.folder / f"collector-{self.port}.log"
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("SEGOPS_")},
            "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
            "SEGOPS_TOPIC_PREFIX": stack.name,
            "SEGOPS_PARTITIONS": str(stack.partitions),
            "SEGOPS_COLLECT_KEYS": f"website={KEY}",
            "SEGOPS_COLLECT_PORT": str(self.port),
            "SEGOPS_COLLECT_WEB_PORT": str(self.web_port),
            **variables,
        }
        hooked = "FAULTS_REDIRECT" in variables
        main = ["-m", "tests.faults.hooks"] if hooked else ["-c", "from segops.cli import main; main()"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *main, "collect"], env=environment, stdout=log, stderr=log
            )
        stack.workers.append(self.process)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def page(self, path: str) -> tuple[int, str]:
        """Return the status and the text of a health or metrics page; status 0 without an answer."""
        return _answer(urllib.request.Request(f"http://127.0.0.1:{self.web_port}{path}"))

    def wait_until_ready(self) -> None:
        wait_until(lambda: self.page("/readyz")[0] == 200, "the collector is ready", self.log.read_text)

    def post(self, content: object, path: str = "/v1/batch") -> int:
        """Send JSON and return the status; 0 if the connection ended without an answer."""
        headers = {"Authorization": basic(f"{KEY}:"), "Content-Type": "application/json"}
        body = json.dumps(content).encode()
        return _answer(urllib.request.Request(self.url + path, body, headers))[0]


def _answer(request: urllib.request.Request) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


@contextmanager
def unreachable_stack(folder: Path) -> Iterator[Stack]:
    """Yield an application whose broker refuses connections."""
    with reserve_ports(1) as (port,):
        stack = Stack(f"127.0.0.1:{port}", "away.", folder)
        yield stack
        stack.close()
