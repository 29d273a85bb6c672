"""`segops studio`: requests, follow-ups, the model, the evaluation and suggestions, without a broker."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.studio.model_server import Behaviour, ModelServer, answer, openai

Run = Callable[..., Any]
CATALOGUE = {
    "events": {"Order Completed": {"revenue": "number"}, "Product Viewed": {}},
    "traits": {"country": "iso2"},
    "segments": ["vip"],
}
TWICE = {"did": "Order Completed", "count": {"gte": 2}, "within": "60d"}
SENTENCE = "Bought at least twice in the last 60 days"
NOW = "2026-11-26T09:00:00Z"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "catalogue.yaml"
    path.write_text(yaml.safe_dump(CATALOGUE))
    return path


def propose(segops: Run, shop: Path, *words: object) -> dict[str, Any]:
    done = segops("studio", "propose", "--catalogue", shop, "--now", NOW, *words)
    assert (done.status, done.err) == (0, "")
    found = json.loads(done.out)
    assert set(found) == {"outcome", "rule", "sentence", "understood", "question", "reason"}
    return found


def test_a_request_becomes_a_rule_with_what_was_understood(segops: Run, shop: Path) -> None:
    found = propose(segops, shop, SENTENCE)
    assert (found["outcome"], found["rule"]) == ("rule", TWICE)
    assert "Order Completed" in found["sentence"] and "60d" in found["sentence"]
    assert any(each["node"] for each in found["understood"])


def test_a_vague_request_becomes_a_question(segops: Run, shop: Path) -> None:
    found = propose(segops, shop, "Recent customers")
    assert (found["outcome"], found["rule"]) == ("question", None)
    assert found["question"]


@pytest.mark.parametrize("as_answer", [True, False])
def test_a_follow_up_changes_a_rule_or_an_earlier_answer(
    segops: Run, shop: Path, tmp_path: Path, as_answer: bool
) -> None:
    earlier = propose(segops, shop, SENTENCE)
    file = tmp_path / "earlier.json"
    file.write_text(json.dumps(earlier if as_answer else earlier["rule"]))
    found = propose(segops, shop, "--rule", file, "only in France")
    assert found["rule"] == {"all": [TWICE, {"trait": "country", "is": {"eq": "FR"}}]}


def test_a_file_of_several_catalogues_needs_a_name(segops: Run, tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump({"catalogues": {"shop": CATALOGUE, "other": {"events": {"A": {}}}}}))
    done = segops("studio", "propose", "--catalogue", path, SENTENCE)
    assert (done.status, done.out) == (2, "") and "choose one with --catalogue-name: other, shop" in done.err
    assert propose(segops, path, "--catalogue-name", "shop", SENTENCE)["rule"] == TWICE


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--catalogue-name", "shop", "bought"], "--catalogue-name requires --catalogue"),
        (["--now", "soon", "bought"], "expected an ISO-8601 instant"),
        (["  "], "expected a request in words, got none"),
        (["--rule", "empty.json", "bought"], "empty.json: expected a rule, or an answer with one"),
        (["--rule", "question.json", "bought"], "question.json: expected a rule, or an answer with one"),
        (["--model", "bought"], "expected SEGOPS_STUDIO_MODEL_URL and SEGOPS_STUDIO_MODEL"),
    ],
)
def test_a_mistake_is_named(
    segops: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.json").write_text("{}")
    Path("question.json").write_text('{"outcome": "question", "rule": null}')
    done = segops("studio", "propose", *words)
    assert (done.status, done.out) == (2, "")
    assert message in done.err


def test_a_rule_that_the_catalogue_cannot_have_is_refused_with_its_file(
    segops: Run, shop: Path, tmp_path: Path
) -> None:
    file = tmp_path / "rule.yaml"
    file.write_text("{did: Order Complete}")
    done = segops("studio", "propose", "--catalogue", shop, "--rule", file, "only in France")
    assert (done.status, done.out) == (2, "")
    assert f"{file}: unknown event 'Order Complete'; known: Order Completed, Product Viewed" in done.err


@contextmanager
def model(behaviours: list[Behaviour]) -> Iterator[tuple[str, ModelServer]]:
    """Run the service of a model in a thread."""
    server, ready, loop = ModelServer(behaviours), threading.Event(), asyncio.new_event_loop()
    found: list[str] = []
    ended = asyncio.Event()

    async def serve() -> None:
        async with server.serving() as url:
            found.append(url)
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield found[0], server
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [(TWICE, "rule"), ({"did": "Order Completed"}, "question")],
    ids=["agrees", "differs"],
)
def test_a_model_confirms_a_rule_or_makes_a_question(
    segops: Run,
    shop: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rule: dict[str, Any],
    expected: str,
) -> None:
    with model([openai(answer("rule", rule))]) as (url, server):
        monkeypatch.setenv("SEGOPS_STUDIO_MODEL_URL", url)
        monkeypatch.setenv("SEGOPS_STUDIO_MODEL", "small")
        monkeypatch.setenv("SEGOPS_STUDIO_MODEL_AUDIT_DIR", str(tmp_path / "audit"))
        found = propose(segops, shop, "--model", SENTENCE)
    assert found["outcome"] == expected
    assert len(server.received) == 1 and len(list((tmp_path / "audit").iterdir())) == 1


# -- eval -------------------------------------------------------------------------------------------


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    cases = [
        {
            "id": "a",
            "level": 1,
            "catalogue": "shop",
            "tags": ["count"],
            "sentence": SENTENCE,
            "expect": {"rule": TWICE},
        },
        {
            "id": "b",
            "level": 1,
            "catalogue": "shop",
            "sentence": SENTENCE,
            "expect": {"rule": {"did": "Product Viewed"}},
        },
        {
            "id": "c",
            "level": 5,
            "catalogue": "shop",
            "sentence": "Recent customers",
            "expect": {"refuse": "x", "accept": "question"},
        },
    ]
    path = tmp_path / "sentences.yaml"
    path.write_text(
        yaml.safe_dump({"version": 1, "now": NOW, "catalogues": {"shop": CATALOGUE}, "cases": cases})
    )
    return path


def test_an_evaluation_is_a_table_or_json(segops: Run, sentences: Path) -> None:
    done = segops("studio", "eval", sentences, "--cases")
    assert done.status == 0
    rows = [line.split() for line in done.out.splitlines()]
    assert ["all", "3", "2", "1", "0", "0", "66.7%"] in rows and [
        "count",
        "1",
        "1",
        "0",
        "0",
        "0",
        "100.0%",
    ] in rows
    assert f"b wrong but sure: {SENTENCE!r}: rule: " in done.out
    found = json.loads(segops("studio", "eval", sentences, "--format", "json").out)
    assert (found["total"]["cases"], found["total"]["wrong_but_sure"]) == (3, 1)
    assert [each["class"] for each in found["cases"]] == ["right", "wrong_but_sure", "right"]
    assert found["cases"][0]["answer"]["rule"] == TWICE


def test_missed_targets_are_named_and_end_with_status_1(segops: Run, sentences: Path) -> None:
    done = segops("studio", "eval", sentences, "--targets")
    assert done.status == 1
    assert "warning: target missed: level 1: 50% right, expected at least 95%" in done.err


def test_a_sample_cannot_have_history(segops: Run, shop: Path) -> None:
    done = segops("studio", "suggest", "--catalogue", shop, "--history", "--sample", "10%")
    assert (done.status, "--sample cannot be used with --history" in done.err) == (2, True)
