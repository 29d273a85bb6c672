"""``segops test``: scenarios for segments."""

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
from segops.scenarios import ScenarioResult, run
from segops.schemas.scenarios import Scenario, load_scenarios

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
    "--match", default="", metavar="TEXT", help="Only scenarios with TEXT in the name, in any case."
)
@click.option("--verbose", is_flag=True, help="A line for each scenario.")
def command(files: tuple[Path, ...], match: str, verbose: bool) -> None:
    """Run scenarios: events, moves of the clock, and the memberships and changes that must come of them.

    FILE is a file of scenarios or a folder of them.

    Exit status 0: all passed. 1: a scenario failed. 2: a file has a mistake, and nothing was run.
    """
    scenarios = [found for found in load_scenarios(files) if match.lower() in found.name.lower()]
    if not scenarios:
        raise UserError(f"no scenario has {match!r} in its name")
    outcomes: list[ScenarioResult] = []
    for file, of_file in groupby(scenarios, key=lambda scenario: scenario.file):
        outcomes += _run_file(file, of_file, verbose)
    failed = [outcome for outcome in outcomes if not outcome.passed]
    for outcome in failed:
        say()
        for line in _report(outcome):
            say(line)
    _summarise(outcomes, failed)


def _run_file(file: Path, scenarios: Iterable[Scenario], verbose: bool) -> Iterator[ScenarioResult]:
    if not verbose:
        say(f"{file} ", end="")
    for scenario in scenarios:
        outcome = run(scenario)
        if verbose:
            say(f"{'passed' if outcome.passed else 'FAILED'}  {file}:{scenario.line}: {scenario.name}")
        else:
            say("." if outcome.passed else "F", end="")
        yield outcome
    if not verbose:
        say()


def _report(outcome: ScenarioResult) -> Iterator[str]:
    scenario, step = outcome.scenario, outcome.step
    yield f"FAILED {scenario.file}:{scenario.line}: {scenario.name}"
    yield f"  step {step.number} (line {step.line}), clock at {format_instant(outcome.clock_ms)}"
    for difference in outcome.differences:
        yield f"  {difference.title} (- expected, + actual):"
        yield from (f"    {line}" for line in difference.lines)
    if outcome.before:
        yield "  changes before this step:"
        yield from map(_row, outcome.before[-_SHOWN_BEFORE:])


def _row(change: Change) -> str:
    begin = f"    {format_instant(change.occurred_at)}  {change.action:<7} {change.segment_key}"
    return f"{begin}  {change.profile_id}  {change.reason}"


def _summarise(outcomes: Sequence[ScenarioResult], failed: Sequence[ScenarioResult]) -> None:
    passed = len(outcomes) - len(failed)
    counts = [f"{len(failed)} failed"] * bool(failed) + [f"{passed} passed"]
    say()
    say(", ".join(counts))
    if failed:
        sys.exit(1)
