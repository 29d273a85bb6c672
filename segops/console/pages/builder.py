"""The builder: a segment as a form and as YAML, with its size while it is edited, and its publication."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from segops.console.drafts import catalogue, checking, estimating, publishing
from segops.console.drafts.language import language_text, new_form
from segops.console.drafts.reading import NEW_KEY
from segops.console.drafts.scores import models_of_board, scores_form
from segops.console.drafts.writing import written
from segops.console.page import Action, Conflict, Context, Data, Done, NotFound, Page, Role
from segops.core.errors import DefinitionError, SegopsError, UserError
from segops.core.scoring.models import Model
from segops.core.segments import Definition
from segops.kafka.definitions import read
from segops.operations.measuring import PREFIX as MEASURED
from segops.operations.measuring import measure
from segops.operations.plans import TooMuch, UnknownEffect, Wait
from segops.operations.rollout import versions_of
from segops.schemas.scans import ScanBehind, ScanTimeout
from segops.templates import Template, load_template, load_templates, segment_file

#: The longest draft, in characters: more than any rule within the limits of the language.
MAX_TEXT: Final = 1_000_000
#: Seconds that an estimate may take; a sampled one is to be there at once.
_SAMPLED_S: Final = 5.0
_EXACT_S: Final = 25.0
_PUBLISH_S: Final = 30.0


# -- what the read model knows ---------------------------------------------------------------------------


def _published(context: Context[Any]) -> Mapping[str, Definition]:
    found: Mapping[str, Definition] = context.board.definitions
    return found


def _models(context: Context[Any]) -> Mapping[str, Model]:
    return models_of_board(context.board, _published(context))


def _known(context: Context[Any]) -> int | None:
    population = context.board.sizes.population()
    return None if population is None else population.known


def _sizes(context: Context[Any]) -> dict[str, int]:
    return {each.key: each.members for each in context.board.sizes.segments().segments}


def _catalogue(context: Context[Any]) -> dict[str, Any]:
    board = context.board
    traits = getattr(board, "traits", None)
    published = _published(context)
    declared = {name: None for each in published.values() for name in each.scores or ()}
    return {
        **catalogue.catalogue_form(board.catalogue, traits, published, sizes=_sizes(context)),
        "scores": scores_form(_models(context), declared, context.now_ms),
    }


# -- pages ---------------------------------------------------------------------------------------------------


async def _view(context: Context[Any]) -> Data:
    """Return all that the builder begins with: the document, the language, the catalogue."""
    key = context.arguments.get("key")
    definition = None
    if key is None:
        form = _begun(context.query)
    else:
        definition = _published(context).get(key)
        if definition is None or definition.is_indicator:
            raise NotFound(f"there is no segment {key!r}; it may have been retired")
        form = publishing.document_of(definition, _published(context))
    text = written(form)
    return {
        "key": key,
        "title": "New segment" if definition is None else definition.name,
        "version": 0 if definition is None else definition.version,
        "paused": definition is not None and definition.paused,
        "seen": checking.fingerprint(definition),
        "definition": form,
        "json": msgspec.json.encode(form).decode(),
        "yaml": text,
        "as_of_ms": context.board.as_of_ms,
        "may_publish": context.user.role >= Role.EDITOR,
        "language": language_text(),
        "catalogue": _catalogue(context),
        "templates": [_template_form(each) for each in load_templates().values()],
        "commands": commands(key or NEW_KEY),
    }


def _begun(query: Mapping[str, str]) -> Any:
    """Return the document that a new segment begins with: of a template, of a text, or the plain one."""
    try:
        if name := query.get("template"):
            given = [f"{each}={value}" for each, value in query.items() if each not in ("template", "text")]
            text = segment_file(load_template(name), given)
        else:
            text = query.get("text", "")
        found = checking.check(text, {}, json=False).document if text else None
    except UserError as error:
        raise NotFound(str(error)) from error
    return new_form() if found is None else found.form


def _template_form(template: Template) -> dict[str, Any]:
    return {
        "key": template.key,
        "name": template.name,
        "purpose": template.purpose,
        "parameters": [{"name": name, **each.model_dump()} for name, each in template.parameters.items()],
    }


def commands(key: str) -> dict[str, str]:
    """Return the command lines that do what the builder does."""
    file = shlex.quote(f"{key}.yaml")
    return {
        "check": f"segops check {file} --cost",
        "estimate": f"segops estimate {file} --funnel --near 3",
        "plan": f"segops plan {file}",
        "publish": f"segops apply {file} --wait",
    }


async def _rollout(context: Context[Any]) -> Data:
    """Return how far the partitions are from evaluating by a published version."""
    key, version = context.arguments["key"], context.arguments["version"]
    if not (version.isascii() and version.isdigit()):
        raise NotFound(f"expected a version, got {version!r:.40}")
    found = context.board.sizes.rollout({key: int(version)})
    return {
        "key": key,
        "version": int(version),
        "complete": bool(found.partitions) and found.complete,
        "partitions": len(found.partitions),
        "in_force": sum(each.in_force for each in found.partitions),
        "progress": msgspec.to_builtins(found.progress),
        "as_of_ms": context.board.as_of_ms,
    }


# -- actions -------------------------------------------------------------------------------------------------


class DraftForm(BaseModel):
    """A draft: a segment file, a segment or a rule. ``as_json``: it is JSON, else YAML."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(max_length=MAX_TEXT)
    as_json: bool = False
    key: str = Field(default="", max_length=64)


class EstimateForm(DraftForm):
    """A draft to count; ``exact``: over all profiles, past events included, instead of a sample."""

    exact: bool = False


class TemplateForm(BaseModel):
    """A template and values for its parameters."""

    model_config = ConfigDict(extra="forbid")

    template: str = Field(max_length=64)
    values: dict[str, str] = {}


class PublishForm(DraftForm):
    """A draft to publish.

    ``seen``: the fingerprint of the published segment that the edit began with, empty for a new one;
    ``confirmed``: publish even what moves many members, or what no worker can foresee.
    """

    seen: str = Field(default="", max_length=64)
    confirmed: bool = False


async def _check(context: Context[Any], form: DraftForm) -> Done:
    found = checking.check_form(
        form.text, _published(context), json=form.as_json, key=form.key, models=_models(context)
    )
    return Done(_address(form.key), "", found)


def _address(key: str) -> str:
    return f"/builder/{key}" if key else "/builder"


def _checked(context: Context[Any], form: DraftForm) -> tuple[checking.Checked, Definition]:
    found = checking.check(
        form.text, _published(context), json=form.as_json, key=form.key, models=_models(context)
    )
    if found.definition is None:
        raise DefinitionError(found.errors)
    return found, found.definition


async def _estimate(context: Context[Any], form: EstimateForm) -> Done:
    found, definition = _checked(context, form)
    share = 1.0 if form.exact else estimating.share_of(_known(context))
    wait_s = _EXACT_S if form.exact else _SAMPLED_S
    published = _published(context)
    try:
        view = await estimating.estimate(context.settings, found, published, share=share, wait_s=wait_s)
        counted = await _counted(context, definition) if form.exact and view.incomplete else None
    except UserError:
        raise
    except SegopsError as error:
        raise UserError(f"no estimate: {error}") from error
    shown = estimating.estimate_form(view, definition, personal=context.user.sees_personal_data)
    return Done(_address(form.key), "", {**shown, "exact": form.exact, "counted": counted})


async def _counted(context: Context[Any], definition: Definition) -> dict[str, Any]:
    """Return the members that a draft has once past events are counted, or why they are not counted yet.

    The workers go on counting after the time is over; the next request has the result.
    """
    key = f"{MEASURED}{definition.key}"[:64]
    measured = msgspec.structs.replace(definition, key=key)
    try:
        found = await measure(context.settings, [measured], Wait(_EXACT_S))
    except SegopsError as error:
        return {"members": None, "reason": str(error)}
    return {"members": found.members[key], "profiles": found.profiles, "since_ms": found.since_ms.get(key)}


async def _filled(context: Context[Any], form: TemplateForm) -> Done:
    text = segment_file(
        load_template(form.template), [f"{name}={value}" for name, value in form.values.items()]
    )
    found = checking.check_form(text, _published(context), json=False, models=_models(context))
    return Done("/builder", "", found)


async def _publish(context: Context[Any], form: PublishForm) -> Done:
    found, definition = _checked(context, form)
    edit = publishing.Edit(found, form.seen)
    try:
        changes = await publishing.publish(
            context.settings, edit, limited=not form.confirmed, wait_s=_PUBLISH_S
        )
    except publishing.Stale as stale:
        # The board may not have the other person's edit yet, with the indicators that it reads.
        log = await read(context.settings, on_bad=lambda _: None)
        text = written(found.document.form) if found.document else form.text
        data = publishing.stale_form(stale, text, log.live)
        raise Conflict(str(stale), {"reason": "stale", **data}) from stale
    except TooMuch as error:
        data = {"reason": "limits", "segments": error.segments}
        raise Conflict(publishing.not_published(error), data) from error
    except SegopsError as error:
        if isinstance(error.__cause__, (UnknownEffect, ScanTimeout, ScanBehind)):
            text = f"Nothing was published: the effect is unknown: {error.__cause__}"
            raise Conflict(text, {"reason": "unknown"}) from error
        raise error if isinstance(error, UserError) else UserError(str(error)) from error
    shown = [publishing.change_form(each) for each in changes]
    own = next(each for each in changes if each.key == definition.key)
    seen = form.seen if own.record is None else publishing.fingerprint_of(own.record)
    words = _SAID.get(own.action, "published")
    return Done(
        f"/segments/{definition.key}",
        f"{definition.name}: {words}, version {own.version}",
        {
            "changes": shown,
            "key": own.key,
            "version": own.version,
            "seen": seen,
            "versions": versions_of(changes),
            "waits": own.waits,
        },
    )


#: What happened to the segment -> the words for the person.
_SAID: Final = {
    "added": "published",
    "changed": "published",
    "described": "name or description changed",
    "unchanged": "nothing to change",
}

PAGES: Final[tuple[Page[Any], ...]] = (
    Page("/builder", "builder.html", "Builder", _view),
    Page("/builder/{key}", "builder.html", "Builder", _view),
    Page("/builder/{key}/rollout/{version}", "", "Rollout", _rollout),
)

ACTIONS: Final[tuple[Action[Any, Any], ...]] = (
    Action("/builder/check.json", "segment.check", DraftForm, _check, Role.VIEWER, changes=False),
    Action("/builder/estimate.json", "segment.estimate", EstimateForm, _estimate, Role.VIEWER, changes=False),
    Action("/builder/template.json", "segment.template", TemplateForm, _filled, Role.VIEWER, changes=False),
    Action("/builder/publish", "segment.publish", PublishForm, _publish, Role.EDITOR),
)
