"""``segops mcp``: what is wrong is said before anything is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("arguments", "variables", "reason"),
    [
        (["--http"], {}, "no tokens: set SEGOPS_MCP_TOKENS"),
        (["--port", "1"], {}, "--port and --web-port need --http"),
        ([], {"SEGOPS_MCP_ANSWER_BYTES": "1"}, "SEGOPS_MCP_ANSWER_BYTES: "),
    ],
)
def test_mistakes_end_it_with_a_reason(
    segops: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    variables: dict[str, str],
    reason: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    done = segops("mcp", *arguments)
    assert done.status == 2
    assert reason in done.err


def test_without_the_extra_it_says_what_to_install(
    segops: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segops.cli.mcp.find_spec", lambda _name: None)
    done = segops("mcp")
    assert (done.status, "pip install 'segops-engine[mcp]'" in done.err) == (2, True)
