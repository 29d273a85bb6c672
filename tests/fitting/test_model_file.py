"""The model file of a fit: what it says, in days, and that it can be read."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import msgspec
import pytest

from segops.archive.storage import FolderStorage
from segops.core.scoring.buying import History
from segops.core.scoring.models import BuyingParameters, SpendingParameters
from segops.core.values import format_instant
from segops.demo.wheels import data_file
from segops.fitting import likelihoods
from segops.fitting.fit import Parameter, fit_gaps
from segops.fitting.histories import Customer, distinct
from segops.fitting.model_file import model_form
from segops.fitting.reading import read_orders
from segops.fitting.report import Report, fit_orders, fit_summary
from segops.schemas.models import read_model
from tests.archive.helpers import DAY_MS, START_MS, Archive, event, write
from tests.command import run

NOW_MS = 1_800_000_000_000


def customers(count: int, shape: float, scale: float, seed: int = 1) -> list[Customer]:
    """Return customers who order at rates of a gamma distribution, seen for a time of their own."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        rate, orders = rng.gammavariate(shape, 1 / scale), rng.randint(0, 6)
        gaps = [rng.expovariate(rate) for _ in range(orders)]
        found.append(Customer(History(orders, sum(gaps), sum(gaps) + 5), 0, 0.0))
    return found


def test_gaps_have_the_likelihood_of_their_distribution() -> None:
    """The integral over the rate, by Simpson's rule, for each customer apart."""
    found, shape, scale = customers(12, 3.0, 40.0), 2.5, 30.0
    expected = 0.0
    for each in found:
        if (x := each.history.repeats) == 0:
            continue

        def density(rate: float, x: int = x, last: float = each.history.last) -> float:
            prior = scale**shape * rate ** (shape - 1) * math.exp(-scale * rate) / math.gamma(shape)
            return prior * rate**x * math.exp(-rate * last)

        steps, most = 4_000, 1.5
        width = most / steps
        weights = (1 if at in (0, steps) else 4 if at % 2 else 2 for at in range(steps + 1))
        total = sum(weight * density(at * width) for at, weight in enumerate(weights)) * width / 3
        expected += math.log(total)
    assert float(likelihoods.gaps(distinct(found))((shape, scale)).real) == pytest.approx(expected, rel=1e-6)


def test_gaps_are_found_again() -> None:
    shape, scale = fit_gaps(customers(4_000, 3.0, 40.0))
    assert shape.value == pytest.approx(3.0, rel=0.1) and scale.value == pytest.approx(40.0, rel=0.12)
    assert shape.error is not None and 0 < shape.error < 0.3


def test_gaps_without_a_mean_are_left_out() -> None:
    assert fit_gaps(customers(2_000, 0.5, 40.0)) == []
    assert fit_gaps([Customer(History(0, 0.0, 9.0), 0, 0.0)]) == []


def test_weeks_become_days() -> None:
    path = data_file("lifetimes", "datasets/cdnow_customers_summary.csv")
    report = fit_summary("bg-nbd", path, unit="week")
    form = model_form(report, path.name, now_ms=NOW_MS, valid_for_ms=14 * DAY_MS)
    assert (form["name"], form["kind"], form["status"]) == ("buying", "bg-nbd", "ready")
    assert form["fitted_at"] == "2027-01-15T08:00:00.000Z"
    assert form["valid_until"] == "2027-01-29T08:00:00.000Z"
    parameters = form["parameters"]
    assert round(parameters["alpha"] / 7, 3) == 4.414 and round(parameters["r"], 3) == 0.243
    assert parameters["gap_scale"] == pytest.approx(7 * report.gaps[1].value)
    assert round(form["quality"]["log_likelihood"], 1) == -9582.4
    model = read_model(form, path.name)
    assert isinstance(model.parameters, BuyingParameters) and model.parameters.gaps is not None
    assert (model.version, model.trained_on["customers"], model.is_ready) == (0, 2_357, True)


def purchases(count: int, seed: int = 3) -> list[tuple[str, int, float]]:
    """Return customer, day and amount of each order of customers who buy as the models suppose."""
    rng, found = random.Random(seed), list[tuple[str, int, float]]()
    for number in range(count):
        rate, lost, spends = rng.gammavariate(1.5, 1 / 40), rng.betavariate(1, 3), rng.gammavariate(5, 2)
        day = rng.uniform(0, 60)
        while day < 250:
            found.append((f"u{number}", int(day), round(rng.gammavariate(6, spends) + 0.01, 2)))
            day = day + rng.expovariate(rate) if rng.random() > lost else 250
    return found


def orders(folder: Path, count: int) -> Path:
    rows = (f"{who},{_date(day)},{amount}" for who, day, amount in purchases(count))
    path = folder / "orders.csv"
    path.write_text("\n".join(["customer,date,amount", *rows]))
    return path


def _date(day: int) -> str:
    return format_instant(START_MS + day * DAY_MS)


def test_too_little_is_marked_with_its_reasons(tmp_path: Path) -> None:
    path = orders(tmp_path, 60)
    found = fit_orders("gamma-gamma", read_orders(path, now_ms=NOW_MS), source="x", until_ms=None)
    form = model_form(found, "orders.csv", now_ms=NOW_MS)
    assert form["status"] == "not_enough_data"
    assert form["reasons"] == ["60 customers with orders, at least 500 are needed"]
    model = read_model(form, "x")
    assert isinstance(model.parameters, SpendingParameters) and not model.is_ready
    assert model.trained_on["orders"] == len(path.read_text().splitlines()) - 1
    assert model.trained_on["from"].startswith("2025-10-")


def test_spending_without_a_mean_has_no_parameters(tmp_path: Path) -> None:
    read = read_orders(orders(tmp_path, 60), now_ms=NOW_MS)
    found = fit_orders("gamma-gamma", read, source="x", until_ms=None)
    values = [
        Parameter(each.name, 0.9 if each.name == "q" else each.value, None) for each in found.fit.parameters
    ]
    wild = Report(msgspec.structs.replace(found.fit, parameters=values, too_little=[]))
    form = model_form(wild, "x", now_ms=NOW_MS, currency="EUR")
    assert "parameters" not in form and form["currency"] == "EUR"
    assert form["reasons"] == ["the amounts vary so much that they have no mean (q is at most 1)"]
    assert not read_model(form, "x").is_ready


def test_the_command_writes_a_file_that_is_checked(tmp_path: Path) -> None:
    path, file = orders(tmp_path, 60), tmp_path / "buying.json"
    options = ["--orders", path, "--until", "2026-03-28", "--model", file, "--valid-for", "1d"]
    done = run("fit", "bg-nbd", *options, "--format", "json")
    assert (done.status, done.err) == (0, f"wrote {file}\n")
    printed, form = json.loads(done.out), json.loads(file.read_text())
    assert form["quality"]["comparison"]["actual"] == printed["comparison"]["actual"]
    assert form["trained_on"]["until"] == "2026-03-28T00:00:00.000Z"
    assert form["trained_on"]["source"] == "orders.csv"
    checked = run("models", "check", file)
    assert checked.out == "buying: bg-nbd, not_enough_data: OK\n"
    assert "buying: its scores are missing, since the model is not_enough_data (60 customers" in checked.err


@pytest.mark.parametrize("value", ["0d", "soon"])
def test_validity_is_a_duration(tmp_path: Path, value: str) -> None:
    done = run("fit", "bg-nbd", "--orders", orders(tmp_path, 9), "--valid-for", value)
    assert done.status == 2 and "expected a duration such as 90d" in done.err


def test_orders_of_an_archive_are_fitted(tmp_path: Path) -> None:
    records = [
        event(
            number,
            who,
            at_ms=START_MS + day * DAY_MS,
            event="Order Completed",
            properties={"total": amount},
        )
        for number, (who, day, amount) in enumerate(purchases(60))
    ]
    write(Archive(FolderStorage(tmp_path / "archive")).owner(), records)
    for name, options in (
        ("a", ["--archive", tmp_path / "archive"]),
        ("b", ["--orders", orders(tmp_path, 60)]),
    ):
        done = run("fit", "gamma-gamma", *options, "--model", tmp_path / name)
        assert done.status == 0, done.err
    one, other = (json.loads((tmp_path / name).read_text()) for name in "ab")
    assert one["parameters"] == pytest.approx(other["parameters"])
    assert one["trained_on"] == {**other["trained_on"], "source": "archive"}
    (tmp_path / "empty").mkdir()
    done = run("fit", "mbg-nbd", "--archive", tmp_path / "empty")
    assert done.status == 2 and "expected an archive" in done.err
