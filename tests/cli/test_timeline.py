"""What ``segops timeline`` refuses before it connects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]
MAY, JUNE = "2026-05-01T00:00:00Z", "2026-06-01T00:00:00Z"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ann"], "expected an identifier <type>:<value> like user_id:ann, got 'ann'"),
        (["user_id:"], "expected an identifier <type>:<value> like user_id:ann, got 'user_id:'"),
        (
            ["user_id:ann", "--from", "May"],
            "expected an ISO-8601 instant like 2026-01-31T00:00:00Z, got 'May'",
        ),
        (
            ["user_id:ann", "--from", JUNE, "--to", MAY],
            "expected --to after --from, got 2026-05-01T00:00:00.000Z",
        ),
        (
            ["user_id:ann", "--from", MAY, "--to", MAY],
            "expected --to after --from, got 2026-05-01T00:00:00.000Z",
        ),
        (["user_id:ann", "--limit", "0"], "Invalid value for '--limit'"),
    ],
)
def test_wrong_arguments_are_user_errors(segops: Run, arguments: list[str], message: str) -> None:
    result = segops("timeline", *arguments)
    assert (result.status, result.out) == (2, "")
    assert message in result.err
