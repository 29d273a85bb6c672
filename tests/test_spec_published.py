"""The examples of published indicators in the specification, run by the engine and by the slow evaluator."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from segops.core.engine import Engine
from segops.core.events import IndicatorValue
from segops.core.segments import SegmentSet
from segops.schemas.indicators import encode_value
from segops.schemas.segments import load_checked
from segops.schemas.written import read_yaml
from tests.core.indicator_oracle import IndicatorOracle
from tests.test_spec import HORIZON_MS, PROFILE, T, _events, _instant, rows, section


def _examples() -> Iterator[Any]:
    for block in re.findall(r"^```yaml published\n(.*?)^```", section("published"), flags=re.S | re.M):
        for form in read_yaml(block):
            yield from (pytest.param(form["indicators"], case, id=str(case)[:60]) for case in form["cases"])


EXAMPLES = list(_examples())


@pytest.mark.parametrize(("block", "case"), EXAMPLES)
def test_published_values_are_those_stated(
    block: dict[str, Any], case: dict[str, Any], tmp_path: Any
) -> None:
    file = tmp_path / "indicators.json"
    file.write_bytes(msgspec.json.encode({"version": 1, "indicators": block}))
    definitions = load_checked([file]).all_definitions
    engine = Engine(SegmentSet(definitions))
    oracle = IndicatorOracle({each.name: each.when for each in definitions})
    profile, found, expected, now_ms = engine.new_profile(PROFILE), [], [], T
    for event in _events(case["events"]):
        now_ms = max(now_ms, event.time_ms)
        found += engine.on_event(profile, event, clock_ms=now_ms).values
        expected += oracle.on_event(event, now_ms)
    until_ms = T + min(HORIZON_MS, 6 * 86_400_000)
    found += engine.on_timer(profile, clock_ms=until_ms).values
    expected += oracle.on_clock(until_ms)
    stated = [(_instant(at), value) for at, value in case["published"]]
    assert [(each.occurred_at, each.value) for each in found] == stated
    assert [(each.occurred_at, each.value) for each in expected] == stated


def test_fields_of_the_record_are_stated() -> None:
    named = [name for row in rows("published") for name in re.findall(r"`(\w+)`", row[0])]
    fields = [name for name in named if name in IndicatorValue.__struct_fields__]
    assert fields == list(IndicatorValue.__struct_fields__)
    value = IndicatorValue("user_id:u1", "spent", 1, 5, "event", 6, "m", None, None, None)
    assert list(msgspec.json.decode(encode_value(value) or b"")) == fields
