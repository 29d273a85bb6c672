"""The tool that checks a draft: every mistake with its path, what it means in words, what it costs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pydantic import Field

from segops.config import Settings
from segops.core.errors import DefinitionError, Issue
from segops.core.segments import Definition, check_references, references
from segops.kafka.definitions import DefinitionLog, left_out, read
from segops.mcp.segments import explained
from segops.mcp.tool import Answer, Form, Tool
from segops.schemas.published_models import carried_models
from segops.schemas.segment_reading import KEY_PATTERN, Reading

_SOURCE: Final = "draft"


class DraftForm(Form):
    """A segment that is not published, with the blocks of a segment file that its rule reads.

    Look-up tables and postal codes are left out, since those blocks name files.
    """

    rule: dict[str, Any] = Field(description="The rule: one node, as `when` of a segment file.")
    key: str = Field(
        default="assistants-draft",
        pattern=KEY_PATTERN,
        description="Its key; that of a published segment stands for an edit of it.",
    )
    rfm: dict[str, Any] | None = Field(default=None, description="The block `rfm` of a segment file.")
    places: dict[str, Any] | None = Field(default=None, description="The block `places`.")
    indicators: dict[str, Any] | None = Field(default=None, description="The block `indicators`.")
    scores: dict[str, Any] | None = Field(default=None, description="The block `scores`.")


def draft_of(form: DraftForm, log: DefinitionLog) -> Definition:
    """Return the draft. Raises DefinitionError with every mistake, also in its references."""
    found, mistakes, _ = _read(form, log)
    if found is None or mistakes:
        raise DefinitionError(mistakes)
    return found


def _read(form: DraftForm, log: DefinitionLog) -> tuple[Definition | None, list[Issue], list[Issue]]:
    """Return a draft, None if it is invalid, with the mistakes and the warnings."""
    issues: list[Issue] = []
    warnings: list[Issue] = []
    reading = Reading(_SOURCE, issues, warnings)
    reading.use_rfm(form.rfm)
    reading.use_areas(form.places)
    reading.use_models(None, carried_models(log.live.values()))
    reading.use_scores(form.scores)
    reading.use_indicators(form.indicators)
    found = reading.segment({"key": form.key, "when": form.rule}, "")
    if found is not None:
        issues += _broken(found, log)
    return found, [*map(_placed, issues)], [*map(_placed, warnings)]


def _broken(draft: Definition, log: DefinitionLog) -> list[Issue]:
    """Return what is wrong with the segments that a draft refers to."""
    others = {key: each for key, each in log.live.items() if key != draft.key}
    known = {key: each for key, each in others.items() if key not in left_out(log.live)}
    try:
        check_references([draft, *known.values()])
    except DefinitionError as error:  # the others are sound among themselves
        return [Issue(_SOURCE, "when", each.reason) for each in error.issues]
    return []


def _placed(issue: Issue) -> Issue:
    """Return an issue with the path that the arguments have: ``rule.all[0]`` for ``when.all[0]``."""
    path = issue.path.removeprefix(".")
    return Issue(
        _SOURCE, f"rule{path.removeprefix('when')}" if path.startswith("when") else path, issue.reason
    )


async def _check(settings: Settings, form: DraftForm) -> Answer:
    log = await read(settings, on_bad=lambda _: None)
    found, mistakes, warnings = _read(form, log)
    checked: dict[str, Any] = {
        "valid": not mistakes,
        "errors": _views(mistakes),
        "warnings": _views(warnings),
    }
    if found is None or mistakes:
        return checked
    former = log.live.get(found.key)
    return {
        **checked,
        **explained(found, log),
        "refers_to": sorted(set(references(found.when))),
        "edits": None if former is None else {"key": former.key, "version": former.version},
    }


def _views(issues: Iterable[Issue]) -> list[dict[str, str]]:
    return [{"path": each.path, "reason": each.reason} for each in issues]


TOOLS: Final = (
    Tool(
        "check_draft",
        "Check a draft",
        "Check a rule without publishing it: every mistake with its path and reason, warnings of nodes that "
        "always hold, the rule in words, and what it costs per profile. A person publishes it.",
        DraftForm,
        _check,
    ),
)
