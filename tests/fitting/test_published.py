"""The figures that the papers print for the purchases of CDNOW, to their digits."""

from __future__ import annotations

from pathlib import Path

import pytest

from segops.core.values import parse_instant
from segops.demo.wheels import data_file
from segops.fitting.fit import KINDS, Fit, fit
from segops.fitting.reading import read_orders, read_summary
from segops.fitting.report import fit_orders

NOW_MS = 1_800_000_000_000


def fitted(kind: str, name: str) -> Fit:
    return fit(KINDS[kind], read_summary(data_file("lifetimes", f"datasets/{name}.csv")), unit="week")


def values(found: Fit, digits: int) -> dict[str, float]:
    return {each.name: round(each.value, digits) for each in found.parameters}


def test_bg_nbd_is_as_in_its_paper() -> None:
    """Fader, Hardie, Lee (2005), table 2."""
    found = fitted("bg-nbd", "cdnow_customers_summary")
    assert values(found, 3) == {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}
    assert round(found.log_likelihood, 1) == -9582.4
    assert (found.customers, found.repeating, found.too_little) == (2_357, 946, [])


def test_mbg_nbd_is_as_other_packages_document_it() -> None:
    """The R package BTYDplus and the Python package lifetimes, for the same customers."""
    found = fitted("mbg-nbd", "cdnow_customers_summary")
    assert values(found, 3) == {"r": 0.525, "alpha": 6.183, "a": 0.891, "b": 1.614}


def test_gamma_gamma_is_as_in_its_note() -> None:
    """Fader, Hardie (2013), section 4: 946 customers; they print 6.25, 3.74 and 15.44."""
    found = fitted("gamma-gamma", "cdnow_customers_summary_with_transactions")
    assert values(found, 2)["p"] == 6.25 and values(found, 2)["q"] == 3.74
    assert found.parameters[2].value == pytest.approx(15.44, abs=0.01)


def test_orders_give_the_same_model_as_the_table_made_of_them(tmp_path: Path) -> None:
    """The table counts in weeks, of which days are sevenths."""
    lines = data_file("lifetimes", "datasets/CDNOW_sample.txt").read_text().splitlines()
    rows = (line.split() for line in lines)
    orders = (f"{row[1]},{row[2][:4]}-{row[2][4:6]}-{row[2][6:]},{row[4]}" for row in rows)
    path = tmp_path / "orders.csv"
    path.write_text("\n".join(["customer,date,amount", *orders]))
    read = read_orders(path, now_ms=NOW_MS)
    found = fit_orders("bg-nbd", read, source=str(path), until_ms=parse_instant("1997-09-30"))
    weekly = fitted("bg-nbd", "cdnow_customers_summary")
    for each, other in zip(found.fit.parameters, weekly.parameters, strict=True):
        unit = 7 if each.name == "alpha" else 1
        assert each.value == pytest.approx(other.value * unit, rel=1e-3)
    assert found.comparison is not None and found.comparison.actual == 1_882
    assert found.comparison.expected == pytest.approx(1_653, abs=1)
