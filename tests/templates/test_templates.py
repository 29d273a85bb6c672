"""The templates of segments: each prints a valid file, and its scenarios say who enters and who leaves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from segops.core.errors import DefinitionError, UserError
from segops.schemas.scenarios import load_scenarios
from segops.schemas.segments import load_checked
from segops.templates import definition_of, load_template, load_templates, segment_file, values_of
from segops.testing import run_scenario
from tests.command import call

SCENARIOS = Path(__file__).with_name("scenarios")
KEYS = list(load_templates())

every_template = pytest.mark.parametrize("key", KEYS)


def test_there_are_twenty_and_each_has_scenarios() -> None:
    assert len(KEYS) == 20
    assert sorted(file.stem for file in SCENARIOS.glob("*.yaml")) == KEYS


@every_template
def test_printed_file_passes_and_holds_for_whom_it_says(
    key: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call("templates", key) == 0
    (tmp_path / "segments.yaml").write_text(capfd.readouterr().out)
    loaded = load_checked([tmp_path / "segments.yaml"])
    assert [each.key for each in loaded.definitions] == [key]
    assert loaded.warnings == []
    scenarios = load_scenarios([Path(shutil.copy(SCENARIOS / f"{key}.yaml", tmp_path))])
    seen: set[str] = set()
    for scenario in scenarios:
        result = run_scenario(scenario)
        assert result.passed, (scenario.name, result.step.line, result.differences)
        seen |= {action for step in scenario.steps for action, _ in step.expect or ()}
    assert seen == {"entered", "exited"}


@every_template
def test_purpose_is_one_line_and_every_parameter_is_used(key: str) -> None:
    template = load_template(key)
    assert template.purpose.endswith(".") and len(template.purpose) <= 100
    written = str(template.when)
    for name, parameter in template.parameters.items():
        assert f"${name}'" in written, name
        assert parameter.meaning[0].islower()
    assert "$" not in segment_file(template)


def test_values_take_the_places_of_parameters() -> None:
    given = ["amount=750.50", "orders=5", "period=90d", "currency=EUR"]
    (segment,) = yaml.safe_load(segment_file(load_template("vip"), given))["segments"]
    assert segment["description"] == "At least 5 orders and 750.5 of revenue within 90d."
    assert segment["when"]["all"] == [
        {
            "sum": "revenue",
            "of": "Order Completed",
            "where": {"currency": "EUR"},
            "within": "90d",
            "is": {"gte": 750.5},
        },
        {"did": "Order Completed", "where": {"currency": "EUR"}, "count": {"gte": 5}, "within": "90d"},
    ]


def test_a_parameter_without_a_value_leaves_its_condition_out() -> None:
    (segment,) = yaml.safe_load(segment_file(load_template("vip")))["segments"]
    assert ["where" in each for each in segment["when"]["all"]] == [False, False]
    (segment,) = yaml.safe_load(segment_file(load_template("high-order-value")))["segments"]
    assert segment["when"]["where"] == {"revenue": {"gt": 0}}


@pytest.mark.parametrize(
    ("key", "given", "message"),
    [
        ("vip", "amount=0", "vip: invalid amount: expected an amount above 0 such as 99.50, got '0'"),
        ("vip", "amount=1e9", "expected an amount above 0 such as 99.50, got '1e9'"),
        ("vip", "amount=", "expected an amount above 0 such as 99.50, got ''"),
        ("vip", "orders=2.5", "expected a whole number from 1 to 1,000,000, got '2.5'"),
        ("vip", "period=0d", "expected a duration above 0, got '0d'"),
        ("vip", "period=a year", "expected a duration in ms, s, m, h, d or w, such as 48h, got 'a year'"),
        ("vip", "currency=euro", "expected an ISO 4217 code such as EUR, got 'euro'"),
        ("birthday", "trait=\x1b[2J", "expected printable text"),
        ("vip", "price=3", "vip has no parameter 'price'; its parameters: amount, orders, period, currency"),
        ("champions", "days=3", "champions has no parameter 'days'; its parameters: none"),
        ("vip", "amount", "vip has no parameter 'amount'; its parameters: amount"),
    ],
)
def test_invalid_values_are_named(key: str, given: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        values_of(load_template(key), [given])
    assert message in str(raised.value)


def test_all_invalid_values_are_reported_together() -> None:
    with pytest.raises(UserError) as raised:
        values_of(load_template("vip"), ["amount=-1", "orders=none", "period=30d"])
    assert [line.partition(":")[2][:16] for line in str(raised.value).splitlines()] == [
        " invalid amount:",
        " invalid orders:",
    ]


def test_values_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(DefinitionError, match=r"template win-back.*segments\[0\]"):
        definition_of(load_template("win-back"), ["silent=90d", "lost=30d"])


def test_an_unknown_template_is_named_with_a_similar_one() -> None:
    with pytest.raises(UserError, match=r"unknown template 'winback'; did you mean win-back\?"):
        load_template("winback")
    with pytest.raises(UserError, match="unknown template 'zzz'; `segops templates` lists them"):
        load_template("zzz")


def test_the_list_has_every_template_with_purpose_and_parameters(capfd: pytest.CaptureFixture[str]) -> None:
    assert call("templates") == 0
    shown = capfd.readouterr().out
    for key, template in load_templates().items():
        assert key in shown and template.purpose[:40] in shown
    assert "amount=500 orders=3 period=365d currency=" in shown
    assert call("templates", "--set", "days=3") == 2
