"""``segops test``: tests for segments, written as scenarios."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import click

from segops.cli._say import say
from segops.core.errors import UserError
from segops.core.events import Change
from segops.core.values import format_instant
from segops.schemas.scenarios import Scenario, load_scenarios
from segops.testing.scenarios import ScenarioResult, run_scenario

_EPILOG = """
\b
Examples:
  segops test tests/
  segops test tests/high_intent.yaml --match "without purchase" --verbose
"""
_SHOWN_BEFORE = 10


@click.command(epilog=_EPILOG)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option(
    "--match", default="", metavar="TEXT", help="Run only scenarios whose name contains TEXT (any case)."
)
@click.option("--verbose", is_flag=True, help="Print a line per scenario.")
def command(files: tuple[Path, ...], match: str, verbose: bool) -> None:
    """Run scenarios: events, clock moves, and the memberships and changes expected from them.

    FILE is a scenario file or a folder of scenario files.

    Exit status 0: all passed. 1: a scenario failed. 2: a file has an error, and nothing was run.
    """
    scenarios = [found for found in load_scenarios(files) if match.lower() in found.name.lower()]
    if not scenarios:
        raise UserError(f"no scenario name contains {match!r}")
    results: list[ScenarioResult] = []
    for file, of_file in groupby(scenarios, key=lambda scenario: scenario.file):
        results += _run_file(file, of_file, verbose)
    failed = [result for result in results if not result.passed]
    for result in failed:
        say()
        for line in _report(result):
            say(line)
    _summarise(results, failed)


def _run_file(file: Path, scenarios: Iterable[Scenario], verbose: bool) -> Iterator[ScenarioResult]:
    if not verbose:
        say(f"{file} ", end="")
    for scenario in scenarios:
        result = run_scenario(scenario)
        if verbose:
            say(f"{'passed' if result.passed else 'FAILED'}  {file}:{scenario.line}: {scenario.name}")
        else:
            say("." if result.passed else "F", end="")
        yield result
    if not verbose:
        say()


def _report(result: ScenarioResult) -> Iterator[str]:
    scenario, step = result.scenario, result.step
    yield f"FAILED {scenario.file}:{scenario.line}: {scenario.name}"
    yield f"  step {step.number} (line {step.line}), clock at {format_instant(result.clock_ms)}"
    for difference in result.differences:
        yield f"  {difference.title} (- expected, + actual):"
        yield from (f"    {line}" for line in difference.lines)
    if result.before:
        yield "  changes before this step:"
        yield from map(_row, result.before[-_SHOWN_BEFORE:])


def _row(change: Change) -> str:
    begin = f"    {format_instant(change.occurred_at)}  {change.action:<7} {change.segment_key}"
    return f"{begin}  {change.profile_id}  {change.reason}"


def _summarise(results: Sequence[ScenarioResult], failed: Sequence[ScenarioResult]) -> None:
    passed = len(results) - len(failed)
    counts = [f"{len(failed)} failed"] * bool(failed) + [f"{passed} passed"]
    say()
    say(", ".join(counts))
    if failed:
        sys.exit(1)
