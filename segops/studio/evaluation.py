"""How well requests are understood: a file of sentences with the right answers, and the figures over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Final, Literal

import msgspec
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from segops.core.errors import DefinitionError, Issue
from segops.core.values import parse_instant
from segops.schemas.issues import form_issues, unreadable
from segops.schemas.segment_input import parse
from segops.studio.catalogue import StudioCatalogue
from segops.studio.equality import same_rule
from segops.studio.proposal import Outcome, Proposal
from segops.studio.rules import check_rule

Class = Literal["right", "wrong_but_sure", "over_asked", "wrong_question"]
CLASSES: Final[tuple[Class, ...]] = ("right", "wrong_but_sure", "over_asked", "wrong_question")
#: A request, the catalogue and the instant (ms) -> the answer.
Proposer = Callable[[str, StudioCatalogue, int], Proposal]


def _as_list(written: object) -> object:
    return [written] if isinstance(written, str) else written


class Expectation(BaseModel):
    """The right answer: a ``rule`` or one of ``also``, a ``question`` with one of these words, or to refuse.

    ``accept``: further kinds of answers that are right.
    """

    model_config = ConfigDict(extra="forbid")

    rule: dict[Any, Any] | None = None
    also: list[dict[Any, Any]] = []
    question: Annotated[list[str], BeforeValidator(_as_list)] | None = None
    refuse: str | None = None
    accept: Annotated[list[Outcome], BeforeValidator(_as_list)] = []

    @model_validator(mode="after")
    def _one(self) -> Expectation:
        if [self.rule, self.question, self.refuse].count(None) != 2:
            raise ValueError("expected exactly one of rule, question and refuse")
        if self.also and self.rule is None:
            raise ValueError("expected rule beside also")
        return self

    @property
    def kind(self) -> Outcome:
        """The kind of the right answer."""
        return "rule" if self.rule is not None else "question" if self.question is not None else "refuse"


class Case(BaseModel):
    """A sentence and the right answer; ``level``: 1 plain to 4 messy, 5 to be asked about or refused."""

    model_config = ConfigDict(extra="forbid")

    id: str
    level: int = Field(ge=1, le=5)
    catalogue: str
    sentence: str
    expect: Expectation
    tags: list[str] = []


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1]
    now: str
    catalogues: dict[str, Any]
    cases: list[Case] = Field(min_length=1)


@dataclass(frozen=True)
class Sentences:
    """A file of sentences: its instant, its catalogues by name, and its cases."""

    now_ms: int
    catalogues: Mapping[str, StudioCatalogue]
    cases: Sequence[Case]


def load_sentences(file: Path) -> Sentences:
    """Read a file of sentences, YAML or JSON.

    Raises DefinitionError with every mistake, also of the expected rules; UserError for a wrong catalogue.
    """
    try:
        form = _File.model_validate(parse(file))
    except ValidationError as error:
        raise DefinitionError(form_issues(str(file), "", error)) from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DefinitionError([unreadable(file, error)]) from None
    catalogues = {
        name: StudioCatalogue.from_document(written, f"{file}: catalogues.{name}")
        for name, written in form.catalogues.items()
    }
    now_ms = parse_instant(form.now)
    issues = list(_mistakes(form, catalogues))
    if now_ms is None:
        issues.insert(0, ("now", f"expected an ISO-8601 date or time, got {form.now!r}"))
    if now_ms is None or issues:
        raise DefinitionError([Issue(str(file), path, reason) for path, reason in issues])
    return Sentences(now_ms, catalogues, form.cases)


def _mistakes(form: _File, catalogues: Mapping[str, StudioCatalogue]) -> Iterator[tuple[str, str]]:
    ids: set[str] = set()
    for number, case in enumerate(form.cases):
        path = f"cases[{number}]"
        if case.id in ids:
            yield f"{path}.id", f"duplicate id {case.id!r}"
        ids.add(case.id)
        if case.catalogue not in catalogues:
            known = ", ".join(catalogues)
            yield f"{path}.catalogue", f"unknown catalogue {case.catalogue!r}; known: {known}"
            continue
        for place, rule in _expected(case):
            for mistake in check_rule(rule, catalogues[case.catalogue]).mistakes:
                yield f"{path}.expect.{place}", mistake


def _expected(case: Case) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Yield the right rules of a case, each with its place."""
    if case.expect.rule is not None:
        yield "rule", case.expect.rule
    yield from ((f"also[{number}]", rule) for number, rule in enumerate(case.expect.also))


@dataclass(frozen=True)
class Graded:
    """A case, its answer, the class of that, and how long it took."""

    case: Case
    proposal: Proposal
    grade: Class
    took_ms: float


def grade(case: Case, proposal: Proposal, catalogue: StudioCatalogue, now_ms: int) -> Class:
    """Return the class of an answer.

    A rule is right if it is the same as an expected one (``same_rule``); a question if it contains one of the
    expected words, in any case.
    """
    expect = case.expect
    if proposal.outcome == "rule":
        same = expect.kind == "rule" and _is_right(case, proposal.rule, catalogue, now_ms)
        return "right" if same or (expect.kind != "rule" and "rule" in expect.accept) else "wrong_but_sure"
    if proposal.outcome in expect.accept:
        return "right"
    if expect.kind == "rule":
        return "over_asked"
    if proposal.outcome != expect.kind:
        return "wrong_question"
    asked = proposal.question.casefold()
    words = expect.question or [""]
    return "right" if any(word.casefold() in asked for word in words) else "wrong_question"


def _is_right(case: Case, rule: object, catalogue: StudioCatalogue, now_ms: int) -> bool:
    found = check_rule(rule, catalogue).definition
    expected = [check_rule(each, catalogue).definition for _, each in _expected(case)]
    if found is None:
        return False
    known = [each for each in expected if each is not None]
    if any(each.identity == found.identity for each in known):
        return True
    return any(same_rule(each, found, catalogue, now_ms) for each in known)


def evaluate(
    sentences: Sentences, propose: Proposer, *, clock_s: Callable[[], float] = perf_counter
) -> list[Graded]:
    """Return the graded answers to all sentences; ``clock_s`` measures what each takes.

    One sentence with each catalogue is answered before, unmeasured: the first answer reads tables.
    """
    graded = []
    for case in {each.catalogue: each for each in sentences.cases}.values():
        propose(case.sentence, sentences.catalogues[case.catalogue], sentences.now_ms)
    for case in sentences.cases:
        catalogue = sentences.catalogues[case.catalogue]
        begun_s = clock_s()
        proposal = propose(case.sentence, catalogue, sentences.now_ms)
        took_ms = (clock_s() - begun_s) * 1_000
        graded.append(Graded(case, proposal, grade(case, proposal, catalogue, sentences.now_ms), took_ms))
    return graded


class Row(msgspec.Struct, frozen=True):
    """The classes of some cases, in number; ``share``: of those that are right."""

    of: str
    cases: int
    right: int
    wrong_but_sure: int
    over_asked: int
    wrong_question: int

    @property
    def share(self) -> float:
        """The share of right answers."""
        return self.right / self.cases


class Report(msgspec.Struct, frozen=True):
    """The figures over all cases, per level, and per tag; the time of half, and of 99 of 100, answers."""

    total: Row
    levels: list[Row]
    tags: list[Row]
    p50_ms: float
    p99_ms: float

    def missed(self) -> list[str]:
        """Return the targets that were missed, each in a sentence (``commands.md``)."""
        return list(_missed(self))


def report(graded: Sequence[Graded]) -> Report:
    """Return the figures over graded answers, of which there is at least one."""
    levels = sorted({each.case.level for each in graded})
    tags = sorted({tag for each in graded for tag in each.case.tags})
    took = sorted(each.took_ms for each in graded)
    return Report(
        _row("all", graded),
        [_row(f"level {level}", [each for each in graded if each.case.level == level]) for level in levels],
        [_row(tag, [each for each in graded if tag in each.case.tags]) for tag in tags],
        quantile(took, 0.5),
        quantile(took, 0.99),
    )


def _row(of: str, graded: Sequence[Graded]) -> Row:
    return Row(of, len(graded), *([each.grade for each in graded].count(name) for name in CLASSES))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the least value that a share of some ordered values does not exceed.

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5), quantile([1.0, 2.0, 3.0, 4.0], 0.99)
    (2.0, 4.0)
    """
    return ordered[max(0, -(-round(share * 1_000) * len(ordered) // 1_000) - 1)]


#: The targets: right answers over all and in the first two levels, sure mistakes among all, milliseconds.
ALL_RIGHT: Final = 0.8
PLAIN_RIGHT: Final = 0.95
WRONG_BUT_SURE: Final = 2 / 60
P99_MS: Final = 100.0


def _missed(found: Report) -> Iterator[str]:
    levels = {row.of: row for row in found.levels}
    for row, least in ((found.total, ALL_RIGHT), *((levels.get(f"level {n}"), PLAIN_RIGHT) for n in (1, 2))):
        if row is not None and row.share < least:
            yield f"{row.of}: {row.share:.0%} right, expected at least {least:.0%}"
    wrong, most = found.total.wrong_but_sure, int(found.total.cases * WRONG_BUT_SURE)
    if wrong > most:
        yield f"all: {wrong} wrong but sure, expected at most {most}"
    asked = levels.get("level 5")
    if asked is not None and asked.wrong_but_sure:
        yield f"level 5: {asked.wrong_but_sure} wrong but sure, expected none"
    if found.p99_ms >= P99_MS:
        yield f"p99: {found.p99_ms:.0f} ms, expected less than {P99_MS:.0f} ms"
