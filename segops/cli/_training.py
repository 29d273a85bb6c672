"""The report of a trained model as text, and its calibration curve as text and SVG."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from segops.cli._say import table
from segops.core.training.quality import Bin, Quality
from segops.core.training.report import TrainingReport
from segops.core.training.rivals import Rival

if TYPE_CHECKING:
    from rich.table import Table

_BAR: Final = 30
_SHOWN: Final = 12
_SIZE: Final = 320
_MARGIN: Final = 40


def blocks(report: TrainingReport) -> Iterator[str | Table]:
    """Yield the report: the status with its reasons, the measures, the calibration, the features."""
    yield f"{report.name}: {report.verdict}"
    yield from (f"  {reason}" for reason in report.reasons)
    yield (
        f"{report.decisions:,} decisions on {report.profiles:,} profiles, {report.positives:,} of them were "
        f"followed; {report.fitted:,} were fitted, {report.calibrated:,} calibrated"
    )
    if report.measured is not None:
        yield from _measures(report, report.measured)
    if report.in_force is not None:
        yield _beside(report.in_force)


def _beside(found: Rival) -> str:
    """Return the comparison with the model in force as a line."""
    worth = found.measured
    figures = "" if worth is None else f": AUC {worth.auc or 0.5:.3f}, Brier {worth.brier:.4f}"
    verdict = "is kept" if found.stays else "may be replaced"
    return f"version {found.version}, which is in force{figures}; it {verdict}: {found.reason}"


def _measures(report: TrainingReport, found: Quality) -> Iterator[str | Table]:
    yield f"the held-out future: {found.rows:,} decisions, {found.positives:,} of them were followed"
    early = (
        ""
        if report.progressive_auc is None
        else f" (progressive, while learning: {report.progressive_auc:.3f})"
    )
    auc = "-" if found.auc is None else f"{found.auc:.3f}"
    yield f"AUC {auc}{early}, ECE {found.ece:.4f}, Brier {found.brier:.4f} (base rate {found.base_brier:.4f})"
    if found.lift:
        yield f"lift by tenths of the predictions: {' '.join(f'{each:.2f}' for each in found.lift)}"
    columns = ["foretold", "followed", "decisions", ""]
    yield table(columns, map(_row, found.curve), figures=columns[:3])
    yield "decisions by what was foretold; ░ is the difference"
    columns = ["feature", "log-odds", "AUC alone"]
    best = sorted(report.features, key=lambda each: -abs(each.weight))[:_SHOWN]
    rows = [(each.name, f"{each.weight:+.3f}", f"{each.auc:.3f}") for each in best]
    yield table(columns, rows, figures=columns[1:])
    yield f"the {len(best)} features with the greatest weights, for one standard deviation"


def _row(each: Bin) -> tuple[str, ...]:
    bar = _bar(min(each.predicted, each.observed), abs(each.predicted - each.observed))
    return f"{each.predicted:.3f}", f"{each.observed:.3f}", f"{each.count:,}", bar


def _bar(common: float, difference: float) -> str:
    return "█" * round(_BAR * common) + "░" * round(_BAR * difference)


def plot(reports: Sequence[TrainingReport]) -> str:
    """Return the calibration curves of models as one SVG: what was foretold, and the share that followed."""
    found = [(each.name, each.measured.curve) for each in reports if each.measured is not None]
    width = (_SIZE + _MARGIN) * max(len(found), 1) + _MARGIN
    height = _SIZE + 2 * _MARGIN
    body = "".join(
        _drawn(name, curve, (_SIZE + _MARGIN) * number + _MARGIN)
        for number, (name, curve) in enumerate(found)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>{body}</svg>\n'
    )


def _drawn(name: str, curve: Sequence[Bin], left: int) -> str:
    top, bottom, right = _MARGIN, _MARGIN + _SIZE, left + _SIZE
    points = [(left + _SIZE * each.predicted, bottom - _SIZE * each.observed) for each in curve]
    return "".join(
        (
            f'<rect x="{left}" y="{top}" width="{_SIZE}" height="{_SIZE}" fill="none" stroke="#999"/>',
            f'<line x1="{left}" y1="{bottom}" x2="{right}" y2="{top}" stroke="#999" stroke-dasharray="4"/>',
            f'<polyline points="{_path(points)}" fill="none" stroke="#0b62a4" stroke-width="2"/>',
            *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#0b62a4"/>' for x, y in points),
            f'<text x="{left}" y="{top - 10}">{escape(name)}: what followed, by what was foretold</text>',
            f'<text x="{left}" y="{bottom + 16}">0</text>',
            f'<text x="{right}" y="{bottom + 16}" text-anchor="end">1</text>',
        )
    )


def _path(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
