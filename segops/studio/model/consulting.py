"""The consultation of a model about a request, and what its answer does to that of the parser."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from segops.core.segments import Definition
from segops.studio.catalogue import StudioCatalogue
from segops.studio.checks import sentence
from segops.studio.equality import same_rule
from segops.studio.model.audit import BudgetSpent
from segops.studio.model.client import ModelAway, shown
from segops.studio.model.prompts import INSTRUCTIONS, prompt_of
from segops.studio.model.schema import answer_schema
from segops.studio.model.service import Service
from segops.studio.model.wire import Prompt, Reply
from segops.studio.proposal import Outcome, Proposal, asked
from segops.studio.rules import check_rule

#: A prompt and the answer to it, and one repair.
TURNS: Final = 2


class _Answer(msgspec.Struct, forbid_unknown_fields=True):
    """An answer of a model, in the form of its schema."""

    outcome: Outcome
    rule: dict[str, Any] | None = None
    question: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Reading:
    """How a model reads a request: as a rule, a question or a refusal; or the mistakes in its answers."""

    definition: Definition | None = None
    question: str = ""
    reason: str = ""
    mistakes: tuple[str, ...] = ()


class Consultant:
    """Asks the model of a service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def consult(
        self, text: str, catalogue: StudioCatalogue, now_ms: int, parsed: Proposal, *, rule: Any = None
    ) -> Proposal:
        """Return the parser's answer ``parsed``, as the model's reading of the same request leaves it.

        A refusal stays, and the model is not asked. A rule stays if the model reads the request as the same
        one; else it becomes a question that shows both readings. If the model cannot be asked, or does not
        answer, the parser's answer stays and says so. ``rule``: the current rule, which the request changes.
        """
        if parsed.outcome == "refuse":
            return parsed
        try:
            reading = await self._read(text, catalogue, now_ms, rule)
        except (ModelAway, BudgetSpent) as error:
            note = f"the model was not heard: {error}"
            return replace(parsed, reason=f"{parsed.reason}; {note}" if parsed.reason else note)
        return decided(parsed, reading, catalogue, now_ms)

    async def _read(self, text: str, catalogue: StudioCatalogue, now_ms: int, rule: Any) -> Reading:
        service, schema = self._service, answer_schema(catalogue)
        earlier, reading = "", Reading()
        for turn in range(1, TURNS + 1):
            document = prompt_of(
                text, catalogue, now_ms, rule=rule, earlier=earlier, mistakes=reading.mistakes
            )
            prompt = Prompt(service.model, INSTRUCTIONS, document, schema, service.answer_tokens)
            reply = await service.ask(prompt, turn)
            earlier, reading = reply.text, read_reply(reply, catalogue)
            if not reading.mistakes:
                break
        return reading


def read_reply(reply: Reply, catalogue: StudioCatalogue) -> Reading:
    """Read a reply, and hold a rule in it to the language and the catalogue."""
    if reply.declined:
        return Reading(reason=f"the model declined: {shown(reply.declined)}")
    if reply.cut:
        return Reading(mistakes=("the answer is cut: it has more tokens than allowed",))
    try:
        answer = msgspec.json.decode(reply.text, type=_Answer)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        return Reading(mistakes=(f"expected an answer in the form of the schema: {shown(str(error))}",))
    if answer.outcome == "rule":
        checked = check_rule(answer.rule, catalogue)
        return Reading(checked.definition, mistakes=tuple(map(shown, checked.mistakes)))
    if answer.rule is not None:
        return Reading(mistakes=(f"expected no rule with the outcome {answer.outcome}",))
    if answer.outcome == "question":
        return Reading(question=shown(answer.question) or "The request is not clear to the model.")
    return Reading(reason=shown(answer.reason) or "the model gives no reason")


def decided(parsed: Proposal, reading: Reading, catalogue: StudioCatalogue, now_ms: int) -> Proposal:
    """Return the answer to a request that the parser and a model have read; see ``Consultant.consult``."""
    if reading.mistakes:
        return _doubted(parsed, "the model's answer cannot be used", "; ".join(reading.mistakes))
    if reading.definition is None:
        said = reading.question or f"The model refuses: {reading.reason}"
        return _doubted(parsed, said, said)
    theirs = sentence(reading.definition.when)
    if parsed.outcome != "rule":
        question = f"{parsed.question} A model reads it as: {theirs}"
        return replace(parsed, question=question, reason="a reading of the model alone is no rule")
    ours = check_rule(parsed.rule, catalogue).definition
    if ours is not None and same_rule(ours, reading.definition, catalogue, now_ms):
        return replace(parsed, reason="the model reads it the same")
    question = f"Which is meant: (1) {parsed.sentence}, or (2) {theirs}?"
    return asked(question, parsed.understood, "the parser and the model read it differently")


def _doubted(parsed: Proposal, doubt: str, reason: str) -> Proposal:
    """Return a question about the parser's rule; the parser's own question stays."""
    if parsed.outcome != "rule":
        return replace(parsed, reason=reason)
    return asked(f"Is this meant: {parsed.sentence}? {doubt}", parsed.understood, reason)
