"""Orders and tables of histories that cannot be fitted, each with its line and the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from segops.cli import cli
from segops.core.errors import UserError
from segops.demo.wheels import data_file
from segops.fitting.reading import BadRows, read_orders, read_summary
from segops.fitting.report import fit_orders, fit_summary

NOW_MS = 1_800_000_000_000


def written(folder: Path, text: str, name: str = "file.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("u1,2026-01-01,-5", "amount: expected a number of at least 0, got '-5'"),
        ("u1,2026-01-01,nan", "amount: expected a number of at least 0, got 'nan'"),
        ("u1,2099-01-01,5", "date: 2099-01-01 is in the future"),
        ("u1,yesterday,5", "date: expected an ISO 8601 date, got 'yesterday'"),
        (",2026-01-01,5", "customer: missing"),
        ("u1,2026-01-01", "expected 3 columns, got 2"),
    ],
)
def test_a_bad_order_is_named_with_its_line(tmp_path: Path, row: str, reason: str) -> None:
    path = written(tmp_path, f"customer,date,amount\nu2,2026-01-01,5\n{row}\n")
    with pytest.raises(BadRows) as found:
        read_orders(path, now_ms=NOW_MS)
    assert found.value.problems == [f"line 3: {reason}"]
    assert str(path) in str(found.value)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1.5,10,20", "frequency: expected a whole number, got 1.5"),
        ("1,30,20", "recency: 30 is more than T, 20"),
        ("0,10,20", "recency: 10 does not go with a frequency of 0"),
        ("2,0,20", "recency: 0 does not go with a frequency of 2"),
        ("-1,0,20", "frequency: expected a number of at least 0, got '-1'"),
        ("1,,20", "recency: missing"),
    ],
)
def test_an_impossible_history_is_named_with_its_line(tmp_path: Path, row: str, reason: str) -> None:
    path = written(tmp_path, f"frequency,recency,T\n{row}\n")
    with pytest.raises(BadRows) as found:
        read_summary(path)
    assert found.value.problems == [f"line 2: {reason}"]


def test_of_many_bad_rows_the_first_are_shown(tmp_path: Path) -> None:
    path = written(tmp_path, "customer,date\n" + "u1,never\n" * 20)
    with pytest.raises(BadRows, match="20 invalid rows") as found:
        read_orders(path, now_ms=NOW_MS)
    assert len(found.value.problems) == 5 and "and 15 more" in str(found.value)


def test_json_lines_are_orders_too(tmp_path: Path) -> None:
    path = written(tmp_path, '{"customer":"u1","date":"2026-01-01","amount":5}\n', "orders.jsonl")
    assert [each.amount for each in read_orders(path, now_ms=NOW_MS)] == [5.0]


def test_too_few_customers_are_fitted_on_nothing_or_marked(tmp_path: Path) -> None:
    orders = read_orders(written(tmp_path, "customer,date,amount\nu1,2026-01-01,5\n"), now_ms=NOW_MS)
    for kind in ("bg-nbd", "gamma-gamma"):
        with pytest.raises(UserError, match="no customer has a second order"):
            fit_orders(kind, orders, source="one.csv", until_ms=None)
    same = written(tmp_path, "x,t_x,T\n" + "1,5,20\n" * 9, "same.csv")
    with pytest.raises(UserError, match="no maximum"):
        fit_summary("bg-nbd", same, unit="day")
    with pytest.raises(UserError, match="no order until 1970"):
        fit_orders("bg-nbd", orders, source="one.csv", until_ms=0)
    table = data_file("lifetimes", "datasets/cdnow_customers_summary.csv").read_text().splitlines()
    few = written(tmp_path, "\n".join(table[:301]), "few.csv")
    assert fit_summary("bg-nbd", few, unit="day").fit.too_little == [
        "300 customers with orders, at least 500 are needed",
        "39 days of orders, at least 180 are needed",
    ]


def test_options_that_exclude_each_other_are_refused(tmp_path: Path) -> None:
    path = str(written(tmp_path, "x,t_x,T\n0,0,9\n"))
    for arguments, text in (
        (["bg-nbd"], "expected one of --orders, --archive and --summary"),
        (
            ["bg-nbd", "--orders", path, "--summary", path],
            "expected one of --orders, --archive and --summary",
        ),
        (["bg-nbd", "--summary", path, "--currency", "EUR"], "--currency needs --archive"),
        (["bg-nbd", "--summary", path, "--until", "2026-01-01"], "--until needs --orders"),
    ):
        done = CliRunner().invoke(cli, ["fit", *arguments])
        assert isinstance(done.exception, UserError) and text in str(done.exception)
