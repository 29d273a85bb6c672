"""Look-up tables in ``segops check``, and the mistakes of ``segops lookups put``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import run

SEGMENTS = """
version: 1
lookups: {products: {file: products.csv, key: id}}
segments:
- {key: a, when: {did: Buy, where: {"products[product_id].collection": Shoes}}}
- {key: b, when: {sum: "products[product_id].price", as: number, of: Buy, is: {gte: 5}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "s.yaml").write_text(SEGMENTS)
    (tmp_path / "products.csv").write_text("id,collection,price\np1,Shoes,5\np2,Socks,\n")
    return tmp_path


def buys(*products: str) -> str:
    event = {"type": "track", "event": "Buy", "userId": "u", "timestamp": "2026-01-05T00:00:00Z"}
    lines = (
        {**event, "messageId": f"m{number}", "properties": {"product_id": product}}
        for number, product in enumerate(products)
    )
    return "".join(f"{json.dumps(line)}\n" for line in lines)


def test_check_names_the_keys_that_the_table_lacks(folder: Path) -> None:
    (folder / "events.jsonl").write_text(buys("p1", "p9", "p8", "p9"))
    done = run("check", folder / "s.yaml", "--events", folder / "events.jsonl")
    assert done.status == 0
    assert done.out.splitlines()[-1] == (
        "  product_id of Buy: 2 keys are not in the look-up table products: p9 (2), p8 (1)"
    )


def test_check_says_how_many_rows_each_worker_holds(folder: Path) -> None:
    done = run("check", "--cost", folder / "s.yaml")
    assert done.out.splitlines()[-3:-1] == [
        "look-up table products, column collection: 2 rows in each worker",
        "look-up table products, column price: 2 rows in each worker",
    ]


def test_check_reports_a_wrong_line_of_a_table(folder: Path) -> None:
    (folder / "products.csv").write_text("id,collection\np1,Shoes\np1,Socks\n")
    done = run("check", folder / "s.yaml")
    place = f"{folder}/s.yaml: lookups.products.file: {folder}/products.csv:3"
    assert (done.status, done.err) == (2, f"{place}: duplicate id 'p1'\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["products", "--key", "nowhere"], "products.csv:2: expected 'nowhere' of 1 to 512 characters"),
        (["products", "--key", "id", "--lat", "price"], "--lat and --lon belong to the table postal_codes"),
        (["postal_codes", "--key", "id"], "--lat and --lon belong to the table postal_codes"),
        (
            ["postal_codes", "--key", "id", "--lat", "price", "--lon", "collection"],
            "code 'p1': expected collection in degrees from -180 to 180, got 'Shoes'",
        ),
    ],
)
def test_wrong_replacement_is_refused_before_any_broker_is_asked(
    folder: Path, arguments: list[str], reason: str
) -> None:
    table, *options = arguments
    done = run("lookups", "put", table, folder / "products.csv", *options)
    assert done.status == 2
    assert reason in done.err
