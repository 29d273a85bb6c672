"""What ``segops alerts`` prints; ``tests/streaming/test_alerts.py`` runs it on a broker."""

from __future__ import annotations

import json

import msgspec

from segops.analytics.alert_log import AlertLog
from segops.cli.alerts import _frame, _Lines, _row
from segops.core.rules.alerts import Alert
from segops.schemas.alerts import EVALUATED_KEY, AlertRecord, AlertState, Evaluated, alert_key, encode_alert

FALL = Alert("size", 3_600_000, 3_000, "-")
KEY = alert_key("vip", FALL)
FIRING = AlertRecord("id", "vip", FALL.text, "firing", 60_000, 60_000, 700, 1_000)


def apply(log: AlertLog, state: AlertState, at_ms: int) -> str:
    found = log.apply(KEY, encode_alert(msgspec.structs.replace(FIRING, state=state, at_ms=at_ms)))
    assert found is not None
    return found


def test_the_first_line_says_up_to_when_alerts_are_evaluated() -> None:
    log = AlertLog()
    assert _frame(log.view(firing=False)) == ["no alerts are evaluated yet"]
    log.apply(EVALUATED_KEY, encode_alert(Evaluated(0, 60_000)))
    assert _frame(log.view(firing=False)) == ["evaluated until 1970-01-01T00:01:00.000Z: no alerts"]
    apply(log, "recovered", 120_000)
    assert len(_frame(log.view(firing=False))) == 3
    assert len(_frame(log.view(firing=True))) == 1


def test_a_row_has_the_end_of_what_has_recovered() -> None:
    row = ("vip", "size -30% over 1h", "firing", "1970-01-01T00:01:00.000Z", "–", "700", "1,000")
    assert _row(FIRING) == row
    recovered = msgspec.structs.replace(FIRING, state="recovered", at_ms=120_000, former=None)
    assert _row(recovered)[2:] == ("recovered", row[3], "1970-01-01T00:02:00.000Z", "700", "–")


def test_each_change_has_one_line() -> None:
    log = AlertLog()
    lines, as_json = _Lines(log, firing=False, json=False), _Lines(log, firing=False, json=True)
    key = apply(log, "firing", 60_000)
    assert list(lines.changed(None)) == [
        "1970-01-01T00:01:00.000Z  vip  size -30% over 1h  firing  700, 1,000 earlier"
    ]
    assert [json.loads(line)["state"] for line in as_json.changed({key})] == ["firing"]
    assert list(lines.changed({key})) == []
    apply(log, "recovered", 120_000)
    assert [line.split("  ")[3] for line in lines.changed({key})] == ["recovered"]
    log.apply(KEY, None)
    assert list(lines.changed({key})) == []


def test_of_those_that_fire_only_the_recovery_of_one_that_was_shown_has_a_line() -> None:
    log = AlertLog()
    key = apply(log, "recovered", 60_000)
    lines = _Lines(log, firing=True, json=False)
    assert list(lines.changed(None)) == []
    for state in ("firing", "recovered"):
        apply(log, state, 120_000)  # type: ignore[arg-type]
        assert [line.split("  ")[3] for line in lines.changed({key})] == [state]
