"""Catalogues of files: alone, by name, and as `segops catalogue` prints them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segops.catalogue.views import EventView, FieldView, catalogue_form
from segops.core.errors import UserError
from segops.studio.documents import comparable, load_catalogue

ONE = {"events": {"Buy": {"x": "number"}}}


def written(folder: Path, document: Any) -> Path:
    path = folder / "catalogue.json"
    path.write_text(json.dumps(document), "utf-8")
    return path


def test_a_catalogue_may_be_alone_or_one_of_several(tmp_path: Path) -> None:
    assert list(load_catalogue(written(tmp_path, ONE)).events) == ["Buy"]
    file = written(
        tmp_path, {"version": 1, "catalogues": {"a": ONE, "b": {"events": {"Sell": {}}}}, "cases": []}
    )
    assert list(load_catalogue(file, "b").events) == ["Sell"]
    assert list(load_catalogue(written(tmp_path, {"catalogues": {"a": ONE}})).events) == ["Buy"]


@pytest.mark.parametrize(
    ("document", "name", "message"),
    [
        (
            {"catalogues": {"a": ONE, "b": ONE}},
            None,
            "has 2 catalogues: choose one with --catalogue-name: a, b",
        ),
        ({"catalogues": {"a": ONE}}, "c", ": unknown catalogue 'c'; known: a"),
        ({"catalogues": []}, None, ": catalogues: expected a map of catalogues by name"),
        (ONE, "a", ": expected a map `catalogues` to choose 'a' from"),
        (
            {"catalogues": {"a": {"events": {"Buy": {"x": "numbers"}}}}},
            "a",
            ": catalogues.a.events.Buy.x: expected",
        ),
        ({"events": {"Buy": []}}, None, ".events.Buy: "),
        ([ONE], None, ": expected a map with events"),
    ],
)
def test_a_mistake_is_named_with_file_and_place(
    tmp_path: Path, document: Any, name: str | None, message: str
) -> None:
    file = written(tmp_path, document)
    with pytest.raises(UserError) as error:
        load_catalogue(file, name)
    assert str(error.value).startswith(str(file))
    assert message in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml"):
        load_catalogue(tmp_path / "nowhere.yaml")


def field(name: str, type_: str, values: dict[str, int] | None = None) -> FieldView:
    return FieldView(name, 1.0, {type_: 10}, values, None)


def test_what_the_catalogue_prints_can_be_read(tmp_path: Path) -> None:
    types = ("string", "number", "boolean", "list", "date", "null", "object")
    fields = [*(field(name, name) for name in types), field("plan", "string", {"free": 4, "pro": 6})]
    event = EventView("Buy", ["web"], 10, 10, 1.0, 0, 0, {}, fields, 0)
    form = catalogue_form(
        [event], event, further={"segments": ["vip"], "scores": {"recency_days": "number"}, "currency": "USD"}
    )
    found = load_catalogue(written(tmp_path, form))
    assert {name: kind.name for name, kind in found.events["Buy"].items()} == {
        **{name: name for name in types[:5]},
        "plan": "choice",
    }
    assert found.traits == found.events["Buy"]
    assert (found.segments, found.currency, found.scores["recency_days"].is_number) == (("vip",), "USD", True)


@pytest.mark.parametrize("document", [None, 5, [], {"events": 5}, {"traits": [1]}, {"events": {"Buy": None}}])
def test_what_is_no_catalogue_is_left_to_its_reader(document: Any) -> None:
    assert comparable(document) == document
