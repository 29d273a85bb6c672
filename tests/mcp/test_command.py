"""The command: on standard input and output, as desktop programs start it, and over HTTP until a signal."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from segops.brokers.network import reserve_ports
from tests.streaming.helpers import wait_until

from .test_http import TOKEN
from .test_server import OFFERED

_MAIN = ["-P", "-c", "from segops.cli import main; main()", "mcp"]


def environment(**variables: str) -> dict[str, str]:
    """Return an environment whose broker does not answer."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SEGOPS_")}
    return {**kept, "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", **variables}


def test_an_assistant_is_answered_and_audited(tmp_path: Path) -> None:
    async def steps() -> None:
        parameters = StdioServerParameters(command=sys.executable, args=_MAIN, env=environment())
        with (tmp_path / "log").open("w") as log:
            async with Client(stdio_client(parameters, errlog=log)) as client:
                assert {each.name for each in (await client.list_tools()).tools} == OFFERED
                found = await client.call_tool("read_segment", {"key": "vip"})
                assert found.is_error
                assert "127.0.0.1:1" in found.content[0].text

    asyncio.run(steps())
    lines = (tmp_path / "log").read_text().splitlines()
    [line] = [each for each in lines if '"audit":"mcp"' in each]
    assert 'INFO segops.mcp.audit: {"audit":"mcp","caller":"stdio","tool":"read_segment"' in line


def test_it_ends_with_its_input() -> None:
    done = subprocess.run(
        [sys.executable, *_MAIN], input=b"no json\n", env=environment(), capture_output=True, timeout=60
    )
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


def test_over_http_it_answers_until_a_signal(tmp_path: Path) -> None:
    with reserve_ports(2) as (port, web_port), (tmp_path / "log").open("w") as log:
        variables = environment(
            SEGOPS_MCP_TOKENS=f"desk={TOKEN}", SEGOPS_MCP_PORT=str(port), SEGOPS_MCP_WEB_PORT=str(web_port)
        )
        process = subprocess.Popen([sys.executable, *_MAIN, "--http"], env=variables, stderr=log)
        try:
            wait_until(lambda: _get(f"http://127.0.0.1:{port}/mcp") == 401, "it answers")
            assert _get(f"http://127.0.0.1:{web_port}/readyz") == 200
        finally:
            process.terminate()
        assert process.wait(30) == 0
    assert f"server for assistants on http://127.0.0.1:{port}/mcp" in (tmp_path / "log").read_text()


def _get(url: str) -> int:
    """Return the status of a page; 0 without an answer."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
