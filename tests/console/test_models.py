"""The pages of models: what is published, how good it is, who reads it, and what is hostile in it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from segops import config
from segops.core.errors import UserError
from segops.core.values import format_instant
from segops.kafka import topics
from segops.schemas.models import read_model
from segops.schemas.published_models import ModelId, PublishedModel, encode_model
from tests.console.board import FilledBoard
from tests.console.helpers import NOW_MS, PROXY, Browser, as_user, serve
from tests.core import models as forms

DAY_MS = 86_400_000
HOSTILE = "<script>alert(1)</script>\u202e\"'" + "x" * 2_000
OWN: dict[str, Any] = {
    "name": "mood",
    "kind": "python",
    "fitted_at": "2026-01-01",
    "scorer": "acme_mood",
    "features": [{"name": "views", "figure": {"did": "View"}}],
    "parameters": {"patience": 2},
}
CURVE = [[0.02, 0.01, 900], [0.2, 0.25, 80], [0.45, 0.4, 20]]


def published(board: FilledBoard, form: dict[str, Any], version: int, **more: Any) -> None:
    """Publish a version of a model."""
    model = read_model({**form, "version": version}, "model.json")
    record = encode_model(PublishedModel(model, NOW_MS - DAY_MS, **more))
    board.take("models", ModelId(model.name, version).key, record)


def board_of_models() -> FilledBoard:
    """Return a read model with a good, a stale, an unready and a broken model, and segments on them."""
    board = FilledBoard()
    stale = format_instant(NOW_MS - 1)
    published(board, forms.buying(valid_until=stale, trained_on={"customers": 2_357, "source": HOSTILE}), 1)
    published(board, forms.buying(valid_until=stale, trained_on={"customers": 2_400, "source": HOSTILE}), 2)
    quality = {"auc": 0.8125, "ece": 0.0123, "curve": CURVE, HOSTILE: HOSTILE}
    published(board, forms.logistic(quality=quality), 1)
    unready = {"status": "not_enough_data", "reasons": [f"99 customers {HOSTILE}"]}
    published(board, forms.trees(**unready), 1)
    published(board, OWN, 1)
    board.take("models", b"broken|1", b'{"model": {"name": "broken"}, "published_ms": 5}')
    board.take("models", b"no version", b"{}")
    rule = {
        "any": [{"score": "churn_risk", "is": {"gte": 0.8}}, {"score": "convert_24h", "is": {"gte": 0.5}}]
    }
    board.define({"key": "leaving", "name": "Leaving <b>", "when": rule})
    board.define({"key": "rich", "when": {"score": "average_order_value_expected", "is": {"gte": 50}}})
    return board


def test_the_page_lists_models_with_their_state_and_readers() -> None:
    async def steps(browser: Browser) -> None:
        found = (await browser.get("/data/models.json", **as_user("viewer"))).json
        models = {each["name"]: each for each in found["models"]}
        assert {name: each["state"] for name, each in models.items()} == {
            "broken": "unreadable",
            "buying": "stale",
            "convert_24h": "ready",
            "fraud": "not_enough_data",
            "mood": "ready",
        }
        assert (models["buying"]["version"], models["convert_24h"]["auc"]) == (2, 0.8125)
        assert [each["key"] for each in models["buying"]["used_by"]] == ["leaving"]
        assert models["fraud"]["reasons"][0].startswith("99 customers")
        assert "unknown kind" in models["broken"]["reasons"][0]
        assert found["lacking"] == [{"name": "spending", "used_by": ["rich"]}]
        assert found["cli"] == "segops models list"
        text = (await browser.get("/data/models", **as_user("viewer"))).text
        assert "Scores of the model spending are read by rich, but it is not published" in text
        assert "<script>alert" not in text and "Leaving &lt;b&gt;" in text

    board = board_of_models()
    serve(ticked(board, steps), board=board, **PROXY)


def ticked(board: FilledBoard, steps: Any) -> Any:
    async def run(browser: Browser) -> None:
        await board.tick()
        await steps(browser)

    return run


def test_a_model_has_its_quality_features_and_versions() -> None:
    async def steps(browser: Browser) -> None:
        found = (await browser.get("/data/models/convert_24h.json", **as_user("viewer"))).json
        assert [(each["predicted"], each["count"]) for each in found["curve"]["points"]] == [
            (0.02, 900),
            (0.2, 80),
            (0.45, 20),
        ]
        assert found["curve"]["top"] == 0.5
        assert [each["name"] for each in found["features"]] == ["views", "idle", "plan"]
        assert found["features"][0]["figure"] == "number of View within 1d"
        assert {each["name"]: each["value"] for each in found["quality"]}["AUC"] == "0.8125"
        assert msgspec.json.decode(found["file"])["name"] == "convert_24h"
        assert found["scores"] == ["convert_24h", "intent"]
        page = await browser.get("/data/models/convert_24h", **as_user("viewer"))
        assert "<script>alert" not in page.text and "<circle" in page.text
        assert "Build a segment" not in page.text
        assert "Build a segment" in (await browser.get("/data/models/convert_24h", **as_user("editor"))).text

    board = board_of_models()
    serve(ticked(board, steps), board=board, **PROXY)


def test_a_model_of_an_own_scorer_says_that_it_is_not_installed_here() -> None:
    async def steps(browser: Browser) -> None:
        found = (await browser.get("/data/models/mood.json", **as_user("viewer"))).json
        assert found["doubts"] == [
            "mood: the scorer 'acme_mood' is not installed here; "
            "a segment that reads its score is left out where that is so"
        ]
        assert [(each["name"], each["figure"]) for each in found["features"]] == [("views", "number of View")]
        parameters = {each["name"]: each["value"] for each in found["parameters"]}
        assert parameters == {"patience": "2", "scorer": "acme_mood"}

    board = board_of_models()
    serve(ticked(board, steps), board=board, **PROXY)


def test_earlier_versions_are_shown_and_unknown_ones_are_not() -> None:
    async def steps(browser: Browser) -> None:
        path = "/data/models/buying.json"
        now, before = (await browser.get(path)).json, (await browser.get(f"{path}?version=1")).json
        assert (now["version"], before["version"], before["in_force"]) == (2, 1, 2)
        assert [(each["version"], each["forced"]) for each in now["history"]] == [(2, True), (1, False)]
        assert now["doubts"][0].startswith("buying: the model was valid until")
        assert {"name": "customers", "value": "2,400"} in now["trained_on"]
        text = (await browser.get("/data/models/buying?version=1")).text
        assert "no longer in force" in text and "<script>alert" not in text
        for wrong in ("3", "0", "x", "٣", "9" * 40):
            assert (await browser.get(f"{path}?version={wrong}")).status == 404
        assert (await browser.get("/data/models/none")).status == 404
        broken = await browser.get("/data/models/broken")
        assert broken.status == 200 and "unknown kind" in broken.text

    board = board_of_models()
    serve(ticked(board, steps), board=board)


def test_without_models_the_page_says_how_to_begin() -> None:
    async def steps(browser: Browser) -> None:
        assert "segops fit bg-nbd" in (await browser.get("/data/models")).text

    board = FilledBoard()
    serve(ticked(board, steps), board=board)


def test_the_topic_of_models_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def existing(_kafka: object) -> dict[str, int]:
        return {"segops.segments": 1}

    monkeypatch.setattr(topics, "existing", existing)
    kafka = config.load().kafka

    async def counts(*names: str) -> dict[str, int]:
        return await topics.partition_counts(kafka, names, optional=["segops.models"])

    assert asyncio.run(counts("segops.segments", "segops.models")) == {"segops.segments": 1}
    with pytest.raises(UserError, match=r"missing topics: segops.plans \("):
        asyncio.run(counts("segops.segments", "segops.plans", "segops.models"))
    (optional,) = (each.name for each in FilledBoard()._topics() if each.optional)
    assert optional == config.load().topics.models
