"""``segops studio``: a request in plain English becomes a rule, or a question."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec
import yaml

from segops.cli._edits import Percentage
from segops.cli._kafka import run
from segops.cli._params import INSTANT, formats, limit_option
from segops.cli._say import say, say_table, say_text, warn
from segops.cli._scans import WAIT
from segops.cli._studio import CATALOGUE, CATALOGUE_NAME, catalogue_of
from segops.cli._suggestions import estimated, with_history
from segops.config import Settings, load
from segops.core.errors import UserError
from segops.core.rules.parsing import HEADS
from segops.operations.measuring import PREFIX
from segops.schemas.issues import unreadable
from segops.schemas.segment_input import parse
from segops.studio.amend import amend
from segops.studio.catalogue import StudioCatalogue
from segops.studio.evaluation import CLASSES, Graded, Report, Row, evaluate, load_sentences, report
from segops.studio.proposal import Proposal
from segops.studio.propose import propose as proposed
from segops.studio.rules import check_rule
from segops.studio.suggestions import Suggestion, candidates, ranked
from segops.wall_clock import wall_ms

if TYPE_CHECKING:
    from segops.studio.model import Consultant

_EPILOG = """
\b
Examples:
  segops studio propose "bought at least twice in the last 60 days"
  segops studio propose --rule rule.yaml "only in France"
  segops studio suggest --history
  segops studio eval sentences.yaml
"""
_MAX_BYTES: Final = 64 * 1024
_COLUMNS: Final = ("of", "cases", "right", *(name.replace("_", " ") for name in CLASSES[1:]), "share")


@click.group(epilog=_EPILOG)
def command() -> None:
    """Turn a request in plain English into a rule that you can check, or into a question, never a guess.

    Nothing is published here: put the rule into a segment file, and publish it with `segops plan` and
    `segops apply`.
    """


@command.command(epilog=_EPILOG)
@click.argument("sentence", required=False)
@CATALOGUE
@CATALOGUE_NAME
@click.option("--now", "now_ms", type=INSTANT, help="The instant of the request. [default: the wall clock]")
@click.option(
    "--rule",
    type=click.Path(path_type=Path),
    help="File with the rule that SENTENCE changes, or with an earlier answer.",
)
@click.option(
    "--model",
    is_flag=True,
    help="Also ask the model of SEGOPS_STUDIO_MODEL_URL; if it reads another rule, the answer is a question.",
)
def propose(
    sentence: str | None,
    *,
    file: Path | None,
    name: str | None,
    now_ms: int | None,
    rule: Path | None,
    model: bool,
) -> None:
    """Print the answer to SENTENCE, or to standard input, as one JSON object.

    `outcome` is rule, question or refuse. With a rule come `sentence`, the rule in words, and `understood`,
    what each part of the request became.
    """
    text = _text(sentence)
    current = None if rule is None else _read_rule(rule)
    consultant = _consultant() if model else None
    catalogue = catalogue_of(file, name)
    if rule is not None:
        _check(rule, current, catalogue)
    at_ms = wall_ms() if now_ms is None else now_ms
    answer = _answer(text, catalogue, at_ms, current)
    if consultant is not None:
        answer = asyncio.run(consultant.consult(text, catalogue, at_ms, answer, rule=current))
    say_text(msgspec.json.format(msgspec.json.encode(answer.document()), indent=2).decode())


def _consultant() -> Consultant:
    from segops.studio.model import Consultant, Service  # imports a client of HTTP

    return Consultant(Service(load().studio, wall_ms))


def _answer(text: str, catalogue: StudioCatalogue, now_ms: int, rule: dict[str, Any] | None) -> Proposal:
    return proposed(text, catalogue, now_ms) if rule is None else amend(rule, text, catalogue, now_ms)


def _text(sentence: str | None) -> str:
    if sentence is None:
        data = sys.stdin.buffer.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise UserError(f"standard input: expected at most {_MAX_BYTES:,} bytes")
        sentence = data.decode(errors="replace")
    if not sentence.strip():
        raise UserError("expected a request in words, got none")
    return sentence.strip()


def _read_rule(file: Path) -> dict[str, Any]:
    """Read a rule, or the one in an earlier answer. Raises UserError that names the file."""
    try:
        found = parse(file)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(str(unreadable(file, error))) from None
    if isinstance(found, dict) and "outcome" in found:
        found = found.get("rule")
    if not isinstance(found, dict) or HEADS.keys().isdisjoint(found):
        raise UserError(f"{file}: expected a rule, or an answer with one")
    return found


def _check(file: Path, rule: object, catalogue: StudioCatalogue) -> None:
    """Raise UserError with each mistake in a rule of a file."""
    mistakes = check_rule(rule, catalogue).mistakes
    if mistakes:
        raise UserError("\n".join(f"{file}: {each}" for each in mistakes))


@command.command("eval", epilog="Example: segops studio eval tests/studio/sentences_seen.yaml --targets")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--cases", is_flag=True, help="Also list the sentences whose answer is not right.")
@click.option("--targets", is_flag=True, help="Exit with status 1 if a target is missed, and name it.")
@formats(["table", "json"])
def eval_(file: Path, *, cases: bool, targets: bool, form: str) -> None:
    """Compare the answers to the sentences in FILE with those that FILE expects, per level and per tag.

    A rule is right if it has the canonical form of an expected one, or the same members on generated streams
    of events. Sure mistakes are counted apart: a wrong rule, or a rule where a question was expected.
    """
    sentences = load_sentences(file)
    graded = evaluate(sentences, proposed)
    found = report(graded)
    if form == "json":
        say_text(msgspec.json.format(msgspec.json.encode(_document(found, graded)), indent=2).decode())
    else:
        _print(found, graded if cases else [])
    missed = found.missed()
    for each in missed if targets else ():
        warn(f"target missed: {each}")
    if targets and missed:
        sys.exit(1)


def _document(found: Report, graded: list[Graded]) -> dict[str, Any]:
    listed = [
        {
            "id": each.case.id,
            "class": each.grade,
            "took_ms": round(each.took_ms, 3),
            "sentence": each.case.sentence,
            "answer": each.proposal.document(),
        }
        for each in graded
    ]
    return {**msgspec.to_builtins(found), "missed": found.missed(), "cases": listed}


def _print(found: Report, graded: list[Graded]) -> None:
    rows = [found.total, *found.levels, *found.tags]
    say_table(_COLUMNS, map(_cells, rows), figures=_COLUMNS[1:])
    say(f"a sentence takes {found.p50_ms:.1f} ms (p50), {found.p99_ms:.1f} ms (p99)")
    for line in _lines(graded):
        say(line)


def _cells(row: Row) -> tuple[str, ...]:
    return row.of, *(f"{getattr(row, name):,}" for name in ("cases", *CLASSES)), f"{row.share:.1%}"


def _lines(graded: list[Graded]) -> Iterator[str]:
    for each in graded:
        if each.grade != "right":
            answer, grade = each.proposal, each.grade.replace("_", " ")
            got = answer.sentence or answer.question or answer.reason
            yield f"{each.case.id} {grade}: {each.case.sentence!r}: {answer.outcome}: {got}"


@command.command(epilog="Example: segops studio suggest --history --limit 5")
@CATALOGUE
@CATALOGUE_NAME
@click.option(
    "--history", is_flag=True, help="Count past events first, as a plan does; exact for every rule."
)
@click.option(
    "--sample",
    type=Percentage(),
    default="100%",
    show_default=True,
    help="Evaluate only this share of the profiles; not with --history.",
)
@limit_option("Show the first N suggestions.")
@formats(["table", "json"])
@WAIT
def suggest(
    *,
    file: Path | None,
    name: str | None,
    history: bool,
    sample: float,
    limit: int | None,
    form: str,
    wait: float,
) -> None:
    """Suggest segments that the catalogue allows and the customers fill, with their sizes and reasons.

    The sizes are estimates of the running system, as those of `segops estimate`: what no published segment
    reads is not stored in profiles and named in the notes. With --history, the workers count past events
    first. Segments without members are left out. Nothing is published.
    """
    if history and sample < 1:
        raise click.UsageError("--sample cannot be used with --history")
    catalogue = catalogue_of(file, name)
    found = candidates(catalogue, prefix=PREFIX)

    async def work(settings: Settings) -> list[Suggestion]:
        if history:
            return ranked(found, await with_history(settings, found, wait_s=wait))
        return ranked(found, await estimated(settings, found, share=sample, wait_s=wait))

    suggestions = run(work)[:limit]
    if form == "json":
        listed = {"suggestions": msgspec.to_builtins(suggestions)}
        say_text(msgspec.json.format(msgspec.json.encode(listed), indent=2).decode())
    else:
        _print_suggestions(suggestions, among=len(found))


def _print_suggestions(suggestions: list[Suggestion], *, among: int) -> None:
    rows = [
        (each.key, f"{each.size:,}", f"{each.share:.1%}", each.sentence, each.why) for each in suggestions
    ]
    say_table(("suggestion", "size", "share", "rule", "why"), rows, figures=("size", "share"))
    for each in suggestions:
        for note in each.notes:
            say(f"{each.key}: {note}")
    say(f"{len(suggestions)} of {among} suggestions; --format json prints their rules")
