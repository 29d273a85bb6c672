"""What the studio answers: a rule, a question or a refusal, and what each word of the request became."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

Outcome = Literal["rule", "question", "refuse"]

#: The node of a span that says nothing about customers: "show me", "the", "people".
FILLER: Final = ""
#: The node of a span that became nothing.
UNKNOWN: Final = "?"


@dataclass(frozen=True, slots=True)
class Span:
    """The characters ``start`` to ``end`` of a request, and the node that they became.

    ``node`` is a path in the rule, such as ``all[0].within``; ``FILLER`` or ``UNKNOWN`` where there is none.
    """

    start: int
    end: int
    text: str
    node: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """The answer to a request.

    ``rule`` is there only for the outcome ``rule``; ``sentence`` is that rule in English. A ``question`` asks
    for one thing; ``reason`` says why the request is refused or cannot be answered yet.
    """

    outcome: Outcome
    rule: dict[str, Any] | None = None
    sentence: str = ""
    understood: tuple[Span, ...] = ()
    question: str = ""
    reason: str = ""

    def document(self) -> dict[str, Any]:
        """Return the answer as JSON values.

        >>> Proposal("question", question="Which period?").document()["outcome"]
        'question'
        """
        return {**asdict(self), "understood": [asdict(span) for span in self.understood]}


def asked(question: str, understood: tuple[Span, ...] = (), reason: str = "") -> Proposal:
    """Return a question."""
    return Proposal("question", understood=understood, question=question, reason=reason or question)


def refused(reason: str, understood: tuple[Span, ...] = ()) -> Proposal:
    """Return a refusal."""
    return Proposal("refuse", understood=understood, reason=reason)
