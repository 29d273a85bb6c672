"""From the report of a fit to the form of a model file."""

from __future__ import annotations

from typing import Any, Final

from segops.core.values import format_instant
from segops.fitting.report import Report

#: Kind of a model -> the name of its slot.
_NAMES: Final = {"bg-nbd": "buying", "mbg-nbd": "buying", "gamma-gamma": "spending"}
_DAYS: Final = {"day": 1.0, "week": 7.0}
#: The parameters that are times.
_TIMES: Final = ("alpha", "scale")


def model_form(
    report: Report, source: str, *, now_ms: int, valid_for_ms: int | None = None, currency: str | None = None
) -> dict[str, Any]:
    """Return the form of a model file; its times are days.

    It has no version: the publication gives it the next one. ``source``: on what the model was fitted.
    ``currency``: the only one whose amounts count, if any.
    """
    made, reasons = report.fit, _reasons(report)
    return {
        "name": _NAMES[made.kind],
        "kind": made.kind,
        "fitted_at": format_instant(now_ms),
        **({} if valid_for_ms is None else {"valid_until": format_instant(now_ms + valid_for_ms)}),
        "status": "not_enough_data" if reasons else "ready",
        **({"reasons": reasons} if reasons else {}),
        "trained_on": _trained_on(report, source),
        **({"parameters": _parameters(report)} if _has_mean(report) else {}),
        **({} if currency is None or made.kind != "gamma-gamma" else {"currency": currency}),
        "quality": _quality(report),
    }


def _reasons(report: Report) -> list[str]:
    without = (
        [] if _has_mean(report) else ["the amounts vary so much that they have no mean (q is at most 1)"]
    )
    return [*report.fit.too_little, *without]


def _has_mean(report: Report) -> bool:
    """Return whether a model of spending foretells a mean; others always do."""
    return all(each.value > 1 for each in report.fit.parameters if each.name == "q")


def _parameters(report: Report) -> dict[str, float]:
    days = _DAYS[report.fit.unit]
    named = [(each.name, each) for each in report.fit.parameters]
    named += [(f"gap_{each.name}", each) for each in report.gaps]
    return {name: each.value * (days if each.name in _TIMES else 1.0) for name, each in named}


def _trained_on(report: Report, source: str) -> dict[str, Any]:
    found: dict[str, Any] = {"customers": report.fit.customers, "repeating": report.fit.repeating}
    if report.since is not None:
        found |= {"orders": report.orders, "from": report.since, "until": report.until}
    return {**found, "source": source}


def _quality(report: Report) -> dict[str, Any]:
    found: dict[str, Any] = {"log_likelihood": report.fit.log_likelihood}
    if (compared := report.comparison) is not None:
        expected = {"expected": compared.expected, "actual": compared.actual}
        found["comparison"] = {"days": compared.days, **expected}
    return found
