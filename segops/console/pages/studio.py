"""The studio: a request in plain English, what was understood of it, and its rule for the builder."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from segops.console.board.answers import AnswerCache
from segops.console.drafts.estimating import share_of
from segops.console.drafts.scores import models_of_board
from segops.console.drafts.writing import written
from segops.console.page import Action, Context, Data, Page, Role
from segops.console.people.asking import part
from segops.console.people.links import curl_of, link
from segops.core.errors import UserError
from segops.operations.scans import patient_scan
from segops.schemas.scan_views import view_estimate
from segops.schemas.scans import estimate_request
from segops.studio.amend import amend
from segops.studio.catalogue import StudioCatalogue
from segops.studio.live import catalogue_of
from segops.studio.proposal import FILLER, UNKNOWN, Proposal
from segops.studio.propose import propose
from segops.studio.rules import check_rule
from segops.studio.suggestions import Candidate, Size, Suggestion, candidates, ranked

#: The longest request, in characters.
MAX_REQUEST: Final = 2_000
_KEY: Final = "from-the-studio"
_MEASURED_S: Final = 12.0
_MOST: Final = 12
_EXAMPLES: Final = (
    "{event} at least 3 times in the last 30 days",
    "have not {event} for 60 days",
    "{event} in the last 7 days and not in the segment {segment}",
)
_suggestions = AnswerCache(300.0)


async def _studio(context: Context[Any]) -> Data:
    """Return the answer to the request ``q``, or to ``change``, a follow-up to the ``rule`` that it gave."""
    text = context.query.get("q", "").strip()[:MAX_REQUEST]
    change = context.query.get("change", "").strip()[:MAX_REQUEST]
    found: dict[str, Any] = {
        "q": text,
        "change": change,
        "answer": None,
        "missing": "",
        "examples": [],
        "rule": "",
    }
    try:
        catalogue = _catalogue(context)
        before = _rule_of(context.query.get("rule", ""), catalogue)
    except UserError as error:
        return {**found, "missing": str(error)}
    found["examples"] = [*_examples(catalogue)]
    asked = change if before is not None and change else text
    if not asked:
        return found
    if before is not None and change:
        answer = amend(before, change, catalogue, context.now_ms)
    else:
        answer = propose(text, catalogue, context.now_ms)
    return {**found, **_answered(context, asked, answer, before), "cli": _cli(text, change)}


def _catalogue(context: Context[Any]) -> StudioCatalogue:
    board = context.board
    models = models_of_board(board, board.definitions).values()
    return catalogue_of(board.catalogue, getattr(board, "traits", None), board.definitions.values(), models)


def _rule_of(text: str, catalogue: StudioCatalogue) -> dict[str, Any] | None:
    """Return the rule that a follow-up changes; None without one. Raises UserError if it is none."""
    if not text:
        return None
    try:
        rule: Any = msgspec.json.decode(text)
    except msgspec.DecodeError:
        raise UserError("the rule in the address is no JSON") from None
    mistakes = check_rule(rule, catalogue).mistakes
    if mistakes:
        raise UserError(f"the rule in the address: {mistakes[0]}")
    found: dict[str, Any] = rule
    return found


def _answered(context: Context[Any], asked: str, answer: Proposal, before: dict[str, Any] | None) -> Data:
    rule = answer.rule if answer.rule is not None else before
    document = {"version": 1, "segments": [{"key": _KEY, "when": answer.rule}]}
    yaml = "" if answer.rule is None else written(document)
    return {
        "answer": answer.document(),
        "words": words_of(asked, answer),
        "rule": "" if rule is None else msgspec.json.encode(rule).decode(),
        "yaml": yaml,
        "builder": link("/builder", {"text": yaml}) if yaml else "",
        "curl": curl_of(context, "/studio", {"q": asked}),
    }


def words_of(text: str, answer: Proposal) -> list[dict[str, str]]:
    """Return the request in pieces, each with the ``node`` that it became and the ``tone`` of its mark.

    >>> from segops.studio.proposal import Span
    >>> span = Proposal("question", understood=(Span(0, 3, "all", "?"),)).understood
    >>> words_of("all of it", Proposal("question", understood=span))[0]["tone"]
    'bad'
    """
    found, at = [], 0
    for span in sorted(answer.understood, key=lambda each: each.start):
        if span.start > at:
            found.append({"text": text[at : span.start], "node": "", "tone": ""})
        tone = {FILLER: "", UNKNOWN: "bad"}.get(span.node, "good")
        shown = "" if span.node in (FILLER, UNKNOWN) else span.node
        found.append({"text": text[max(at, span.start) : span.end], "node": shown, "tone": tone})
        at = max(at, span.end)
    return [*found, {"text": text[at:], "node": "", "tone": ""}] if at < len(text) else found


def _examples(catalogue: StudioCatalogue) -> Iterator[str]:
    """Yield requests in the names of the catalogue that the studio understands."""
    event, segment = next(iter(catalogue.events), None), next(iter(catalogue.segments), None)
    for form in _EXAMPLES:
        if event is not None and (segment is not None or "{segment}" not in form):
            yield form.format(event=event, segment=segment)


def _cli(text: str, change: str) -> str:
    first = f"segops studio propose {shlex.quote(text)}"
    if not change:
        return first
    return f"{first} > answer.json\nsegops studio propose --rule answer.json {shlex.quote(change)}"


async def _suggested(context: Context[Any]) -> Data:
    """Return segments that these customers fill, with their sizes as estimated now."""
    nothing: Sequence[Suggestion] = ()

    async def measured() -> Sequence[Suggestion]:
        found = candidates(_catalogue(context))[:_MOST]
        return ranked(found, await _sizes(context, found))

    (at_ms, found), missing = await part(
        _suggestions.dated("suggested", context.now_ms, measured), (None, nothing), limit_s=_MEASURED_S
    )
    rows = [
        {
            **msgspec.to_builtins(each),
            "builder": link("/builder", {"text": written(_document(each))}),
        }
        for each in found
    ]
    return {"suggestions": rows, "as_of_ms": at_ms, "missing": missing, "cli": "segops studio suggest"}


def _document(each: Suggestion) -> dict[str, Any]:
    return {"version": 1, "segments": [{"key": each.key, "description": each.why, "when": each.rule}]}


async def _sizes(context: Context[Any], found: Sequence[Candidate]) -> dict[str, Size]:
    population = context.board.sizes.population()
    share = share_of(None if population is None else population.known)
    sizes = {}
    for each in found:
        asked = estimate_request(each.definition.key, [each.definition], share=share)
        view = view_estimate(await patient_scan(context.settings, asked, wait_s=_MEASURED_S))
        notes = tuple(f"profiles do not store all of it yet: {label}" for label in view.incomplete)
        members = view.members
        sizes[each.key] = Size(members.estimate, members.low, members.high, view.profiles.estimate, notes)
    return sizes


PAGES: tuple[Page[Any], ...] = (
    Page("/studio", "studio.html", "Studio", _studio),
    Page("/studio/suggestions", "studio_suggestions.html", "Suggestions", _suggested, Role.EDITOR),
)
ACTIONS: tuple[Action[Any, Any], ...] = ()
