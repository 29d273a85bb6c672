"""`segops sandbox`: what a worker computes of imaginary events, as text and JSON; and its mistakes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from segops.api.profiles import Elsewhere
from segops.cli import cli
from segops.testing import Customer, at
from tests.workers import Found, serving_worker

NOON = at("2026-03-01T12:00Z")
BUY = '{"event": "Buy", "timestamp": "2026-03-01T13:00:00Z"}'


def ann() -> Customer:
    found = Customer(NOON, buyer={"did": "Buy", "within": "1d"})
    found.did("Page", NOON)
    return found


def sandbox(*words: str, known: Mapping[str, Found] | None = None, token: str | None = None) -> Result:
    async def main() -> Result:
        people = known or {"user_id:ann": ann(), "email:ann@x": "user_id:ann"}
        async with serving_worker(people, token=token) as port:
            line = ["sandbox", *words, "--url", f"http://127.0.0.1:{port}"]
            return await asyncio.to_thread(CliRunner().invoke, cli, line)

    return asyncio.run(main())


def test_changes_are_listed_with_what_flips() -> None:
    found = sandbox("email:Ann@x", "--event", BUY, "--days", "30")
    assert (found.exit_code, found.output.splitlines()) == (
        0,
        [
            "user_id:u1 from 2026-03-01T12:00:00.000Z to 2026-03-31T12:00:00.000Z",
            "2026-03-01T13:00:00.000Z  entered buyer, event 1",
            "  ✓ did Buy within 1d: 1",
            "2026-03-02T13:00:00.000Z  exited  buyer, time",
            "  ✗ did Buy within 1d: 0",
            "then in no segment",
        ],
    )


def test_events_of_a_file_and_json(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(f"{BUY}\n\n{BUY}\n")
    found = sandbox(
        "user_id:ann", "--events", str(file), "--until", "2026-03-02T00:00:00Z", "--format", "json"
    )
    view = json.loads(found.output)
    assert [each["action"] for each in view["changes"]] == ["entered"]
    assert [each["segment_key"] for each in view["after"]] == ["buyer"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("ann",), "expected an identifier <type>:<value>"),
        (("user_id:bob",), "no profile has this identifier"),
        (("user_id:ann", "--event", "[]"), "event 1: expected a JSON object"),
        (("user_id:ann", "--event", "{}"), "events[0]: a track call names no event"),
        (("user_id:ann", "--days", "1", "--until", "2026-03-02"), "expected --days or --until, got both"),
    ],
)
def test_mistakes(words: tuple[str, ...], text: str) -> None:
    found = sandbox(*words)
    assert (found.exit_code != 0, text in found.output + str(found.exception)) == (True, True), found.output


def test_a_redirect_is_followed_with_the_body_and_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGOPS_WEB_TOKEN", "secret-token")

    async def main() -> Result:
        async with serving_worker({"user_id:ann": ann()}, token="secret-token") as owner:
            there = {"email:ann@x": Elsewhere("user_id:ann", f"http://127.0.0.1:{owner}")}
            async with serving_worker(there, token="secret-token") as port:
                line = ["sandbox", "email:ann@x", "--event", BUY, "--url", f"http://127.0.0.1:{port}"]
                return await asyncio.to_thread(CliRunner().invoke, cli, line)

    found = asyncio.run(main())
    assert (found.exit_code, "entered buyer, event 1" in found.output) == (0, True), found.output


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://127.0.0.1:1", "no worker answers at http://127.0.0.1:1"),
        ("nonsense", "expected a worker's URL"),
    ],
)
def test_addresses_at_which_no_worker_is(url: str, text: str) -> None:
    found = CliRunner().invoke(cli, ["sandbox", "user_id:ann", "--url", url])
    assert (found.exit_code != 0, text in str(found.exception)) == (True, True), found.exception


def test_without_the_token_nothing_is_shown() -> None:
    found = sandbox("user_id:ann", token="secret-token")
    assert (found.exit_code != 0, "answered 401" in str(found.exception)) == (True, True)
