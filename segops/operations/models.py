"""Scoring models: publish a version with the definitions that read it, bring one back, list them.

A version and the definitions that it changes are written in one transaction, so that no reader finds one
without the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

import msgspec

from segops.config import Settings
from segops.core.errors import DefinitionError, Issue, UserError
from segops.core.rules.blocks import names_of_models
from segops.core.scans import Limits
from segops.core.scoring.models import Model
from segops.kafka.definitions import DefinitionLog, read
from segops.kafka.publication import Records
from segops.kafka.topics import single_partition
from segops.operations import plans
from segops.operations.definitions import DefinitionChange, plan
from segops.operations.plans import Effect, TooMuch, UnknownEffect, Wait
from segops.schemas.completing import completed
from segops.schemas.planned import PlannedEdit
from segops.schemas.published_models import (
    MAX_MODEL_BYTES,
    ModelId,
    ModelLog,
    PublishedModel,
    encode_model,
)
from segops.wall_clock import wall_ms

#: Chooses the version to publish, given what is published. May be called again.
Choose = Callable[[DefinitionLog], PublishedModel]


class ModelEdit:
    """The publication of a version that ``choose`` makes: the model, and what becomes of definitions."""

    def __init__(self, settings: Settings, choose: Choose) -> None:
        self._topic = settings.topics.models
        self.chosen = choose

    def decide(self, log: DefinitionLog) -> list[DefinitionChange]:
        """Return what becomes of the published definitions that read one of the model's scores."""
        model = self.chosen(log).model
        users = (log.live[key] for key in readers(log).get(model.name, ()))
        return plan(log, [completed(each, {model.name: model}) for each in users], prune=False)

    def beside(self, log: DefinitionLog) -> Mapping[str, Records]:
        """Return the records of the topic of models. Raises UserError if the model is too large."""
        published, library = self.chosen(log), library_of(log)
        model = published.model
        record = encode_model(published)
        if len(record) > MAX_MODEL_BYTES:
            most = f"more than {MAX_MODEL_BYTES:,}"
            raise UserError(f"the model {model.name} has {len(record):,} bytes, {most}")
        outdated = ((each.key, None) for each in library.outdated(model.name))
        return {self._topic: [(ModelId(model.name, model.version).key, record), *outdated]}


class Publication(NamedTuple):
    """A published version, or with ``dry_run`` the one to publish, and what it changes.

    ``effect``: who enters and leaves; None if it was not asked for, or if no membership depends on it.
    """

    published: PublishedModel
    changes: list[DefinitionChange]
    effect: Effect | None


async def publish(
    settings: Settings,
    choose: Choose,
    *,
    limits: Limits | None,
    wait: Wait,
    shown: Callable[[Effect], None] = lambda _: None,
    dry_run: bool = False,
) -> Publication:
    """Publish a version of a model and the definitions that read it: all or nothing.

    The effect is computed just before, unless ``limits`` is None, no definition changes, or there can be no
    members yet. It is given to ``shown``, past events included: if the model reads some for the first time,
    the workers first collect them for a plan that ends with the publication. Nothing is published if it moves
    more than the limits allow. Raises what ``plans.publish`` and ``choose`` raise, UserError if the topic of
    models is missing, and with ``dry_run`` also while a plan is open that it would replace.
    """
    await single_partition(settings.kafka, settings.topics.models)
    edit, effects, published = ModelEdit(settings, choose), list[Effect](), list[PublishedModel]()
    log = await read(settings)
    changes = edit.decide(log)
    edit.beside(log)
    limits = limits if changed(changes) else None

    def seen(effect: Effect) -> None:
        effects.append(effect)
        shown(effect)

    def beside(log: DefinitionLog) -> Mapping[str, Records]:
        published.append(edit.chosen(log))
        return edit.beside(log)

    if dry_run:
        published.append(edit.chosen(log))
        if limits is not None and await plans.may_move(settings):
            seen(await _effect(settings, edit, log, wait))
    else:
        draft = None if limits is None else await _begun(settings, edit)
        try:
            changes = await plans.publish(
                settings, edit.decide, limits=limits, wait=wait, beside=beside, shown=seen
            )
        except TooMuch:
            await _discard(settings, draft)
            raise
    return Publication(published[-1], changes, effects[-1] if effects else None)


async def _begun(settings: Settings, edit: ModelEdit) -> str | None:
    """Let the workers collect the past events that a publication needs; return the id of the plan for it."""
    if not await plans.may_move(settings):
        return None
    with suppress(UnknownEffect):  # the publication says why
        recorded = await plans.begin(settings, edit.decide)
        return None if recorded is None else recorded.planned.id
    return None


async def _effect(settings: Settings, edit: ModelEdit, log: DefinitionLog, wait: Wait) -> Effect:
    """Return the effect, past events included, without a plan that remains. Raises UserError beside one."""
    planned = log.planned
    if planned is not None and planned.is_open(wall_ms()) and not _is_of(planned, edit.decide(log)):
        raise UserError(
            f"a dry run would take the place of the plan {planned.id}: apply it, or discard it first "
            "(segops plan --discard)"
        )
    recorded = await plans.begin(settings, edit.decide)
    effect = await plans.effect_of(settings, edit.decide, wait)
    await _discard(settings, None if recorded is None else recorded.planned.id)
    return effect


def _is_of(planned: PlannedEdit, changes: Iterable[DefinitionChange]) -> bool:
    records = {each.key.encode(): each.record for each in changes if each.record is not None}
    return planned.history and planned.records == records


async def _discard(settings: Settings, plan_id: str | None) -> None:
    """End a plan of a model unless it has ended: `segops apply --plan` would publish it without the model."""
    if plan_id is not None:
        with suppress(UserError):
            await plans.discard(settings, plan_id)


def changed(changes: list[DefinitionChange]) -> bool:
    """Return whether any definition changes."""
    return any(each.action != "unchanged" for each in changes)


def next_version(model: Model, source: str) -> Choose:
    """Return the choice of a model as the next version of its name.

    A model with a version of its own must have that one: raises DefinitionError otherwise.
    """

    def choose(log: DefinitionLog) -> PublishedModel:
        newest = newest_version(log, model.name)
        if model.version not in (0, newest + 1):
            reason = f"expected {newest + 1}, or none, got {model.version}: version {newest} is published"
            raise DefinitionError([Issue(source, "version", reason)])
        return PublishedModel(msgspec.structs.replace(model, version=newest + 1), wall_ms())

    return choose


def earlier_version(name: str, version: int | None) -> Choose:
    """Return the choice of an earlier version of a model as its next one; None: the one before the newest.

    Raises UserError for an unknown model or version, and for the version in force.
    """

    def choose(log: DefinitionLog) -> PublishedModel:
        library = library_of(log)
        known = library.versions(name)
        if not known:
            raise UserError(unknown(library, name))
        earlier = version or max(known[:-1], default=0)
        if earlier == known[-1]:
            raise UserError(f"version {earlier} of the model {name} is in force already")
        if not earlier:
            raise UserError(f"the model {name} has no earlier version")
        former = version_in(library, name, earlier)
        restores = earlier if former.restores is None else former.restores
        following = newest_version(log, name) + 1
        return PublishedModel(msgspec.structs.replace(former.model, version=following), wall_ms(), restores)

    return choose


def newest_version(log: DefinitionLog, name: str) -> int:
    """Return the highest version of a model, in the library or in a definition; 0 of an unknown name."""
    forms = [(each.models or {}).get(name) for each in log.live.values()]
    carried = max((form["version"] for form in forms if form is not None), default=0)
    return max(library_of(log).newest(name), int(carried))


def version_in(library: ModelLog, name: str, version: int) -> PublishedModel:
    """Return a version of a known model. Raises UserError if it is not kept."""
    known = library.versions(name)
    if version not in known:
        raise UserError(f"unknown version {version} of the model {name}; kept: {', '.join(map(str, known))}")
    return library.version(name, version)


def library_of(log: DefinitionLog) -> ModelLog:
    """Return the library that was read with the definitions."""
    return ModelLog() if log.models is None else log.models


def unknown(library: ModelLog, name: str) -> str:
    """Return the message for a name that the library lacks."""
    return f"unknown model {name!r}; published: {', '.join(library.names()) or 'none'}"


# -- what is published -------------------------------------------------------------------------------------


class ListedModel(msgspec.Struct, frozen=True):
    """A published model: its version in force, and the published segments that read it."""

    published: PublishedModel
    versions: list[int]
    used_by: list[str]


async def listed(settings: Settings) -> list[ListedModel]:
    """Return the published models by name. Raises UserError if a topic is missing."""
    await single_partition(settings.kafka, settings.topics.models)
    return models_in(await read(settings))


def readers(log: DefinitionLog) -> dict[str, list[str]]:
    """Map the models that published segments read to the keys of these segments."""
    found: dict[str, list[str]] = {}
    for key, definition in sorted(log.live.items()):
        for name in sorted(names_of_models(definition.when)):
            found.setdefault(name, []).append(key)
    return found


def models_in(log: DefinitionLog) -> list[ListedModel]:
    """Return the models of a log by name."""
    library, users = library_of(log), readers(log)
    return [
        ListedModel(library.in_force(name), library.versions(name), users.get(name, []))
        for name in library.names()
    ]


async def shown(settings: Settings, name: str, version: int | None = None) -> ListedModel:
    """Return a version of a model; None: the one in force. Raises UserError if it is unknown."""
    await single_partition(settings.kafka, settings.topics.models)
    log = await read(settings)
    library = library_of(log)
    known = library.versions(name)
    if not known:
        raise UserError(unknown(library, name))
    published = version_in(library, name, version or known[-1])
    return ListedModel(published, known, readers(log).get(name, []))
