"""Drafts of maps: layout, identifiers, times and numbers are recognised, and the draft imports the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from segops.core.errors import UserError
from segops.imports.drafting import draft_map
from tests.imports.runs import imported


def test_draft_of_a_german_csv_imports_it(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    lines = (
        "id;customer_id;e-mail;placed_at;total;zip",
        "7;K1;jörg@example.com;2026-01-02 10:00:00;1.234,50;01067",
        "8;K2;eva@example.com;2026-01-03 10:00:00;9,00;10115",
    )
    path.write_bytes("\r\n".join(lines).encode("cp1252"))
    written, _ = draft_map(path, "csv")
    assert written == {
        "version": 1,
        "format": "csv",
        "csv": {"encoding": "cp1252", "delimiter": ";", "decimal": ","},
        "identifiers": {"user_id": "customer_id", "email": "e-mail"},
        "map": {
            "event": "Orders",
            "timestamp": "placed_at",
            "properties": {
                "id": {"path": "id", "as": "number"},
                "total": {"path": "total", "as": "number"},
                "zip": "zip",
            },
        },
    }
    events, found = imported(path, yaml.safe_dump(written))
    assert found.rejected == []
    assert events[0]["properties"] == {"id": 7, "total": 1234.5, "zip": "01067"}
    assert events[0]["context"] == {"traits": {"email": "jörg@example.com"}}


def test_draft_of_customers_is_traits(tmp_path: Path) -> None:
    path = tmp_path / "customers.jsonl"
    path.write_text('{"id": 1, "email": "ann@example.com", "tier": "gold"}\n')
    written, _ = draft_map(path, "jsonl")
    assert written["map"] == {"type": "identify", "traits": {"tier": "tier"}}
    events, _ = imported(path, yaml.safe_dump(written))
    assert events[0]["traits"] == {"tier": "gold"}


def test_file_without_rows_has_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("id,name\n")
    with pytest.raises(UserError, match="no row that can be read"):
        draft_map(path, "csv")
