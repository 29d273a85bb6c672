"""Scoring models: publish a version with the definitions that read it, bring one back, list them.

A version and the definitions that it changes are written in one transaction, so that no reader finds one
without the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from segops.operations.completing import completed
from segops.operations.definitions import DefinitionChange, plan
from segops.operations.plans import Effect, Wait
from segops.schemas.published_models import (
    MAX_MODEL_BYTES,
    ModelId,
    ModelLog,
    PublishedModel,
    encode_model,
)
from segops.wall_clock import wall_ms

#: Chooses the version to publish, given the library. May be called again.
Choose = Callable[[ModelLog], PublishedModel]


class ModelEdit:
    """The publication of a version that ``choose`` makes of the library: the model, and what it changes."""

    def __init__(self, settings: Settings, choose: Choose) -> None:
        self._topic = settings.topics.models
        self._choose = choose

    def chosen(self, log: DefinitionLog) -> PublishedModel:
        """Return the version to publish. Raises UserError and DefinitionError."""
        return self._choose(library_of(log))

    def decide(self, log: DefinitionLog) -> list[DefinitionChange]:
        """Return what becomes of the published definitions that read one of the model's scores."""
        model = self.chosen(log).model
        users = (log.live[key] for key in readers(log).get(model.name, ()))
        return plan(log, [completed(each, {model.name: model}) for each in users], prune=False)

    def beside(self, log: DefinitionLog) -> Mapping[str, Records]:
        """Return the records of the topic of models."""
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

    The effect is computed just before, unless ``limits`` is None or no segment reads the model, and is given
    to ``shown``; nothing is published if it moves more than the limits allow. Raises what ``plans.publish``
    and ``choose`` raise, and UserError if the topic of models is missing.
    """
    await single_partition(settings.kafka, settings.topics.models)
    edit, effects = ModelEdit(settings, choose), list[Effect]()

    def seen(effect: Effect) -> None:
        effects.append(effect)
        shown(effect)

    log = await read(settings)
    chosen, changes = edit.chosen(log), edit.decide(log)
    edit.beside(log)
    if dry_run:
        if limits is not None and changed(changes):
            seen(await plans.effect_of(settings, edit.decide, wait))
    else:
        limits = limits if changed(changes) else None
        published = list[PublishedModel]()

        def beside(log: DefinitionLog) -> Mapping[str, Records]:
            published.append(edit.chosen(log))
            return edit.beside(log)

        changes = await plans.publish(
            settings, edit.decide, limits=limits, wait=wait, beside=beside, shown=seen
        )
        chosen = published[-1]
    return Publication(chosen, changes, effects[-1] if effects else None)


def changed(changes: list[DefinitionChange]) -> bool:
    """Return whether any definition changes."""
    return any(each.action != "unchanged" for each in changes)


def next_version(model: Model, source: str) -> Choose:
    """Return the choice of a model as the next version of its name.

    A model with a version of its own must have that one: raises DefinitionError otherwise.
    """

    def choose(library: ModelLog) -> PublishedModel:
        newest = library.newest(model.name)
        if model.version not in (0, newest + 1):
            reason = f"expected {newest + 1}, or none, got {model.version}: version {newest} is published"
            raise DefinitionError([Issue(source, "version", reason)])
        return PublishedModel(msgspec.structs.replace(model, version=newest + 1), wall_ms())

    return choose


def earlier_version(name: str, version: int | None) -> Choose:
    """Return the choice of an earlier version of a model as its next one; None: the one before the newest.

    Raises UserError for an unknown model or version, and for the version in force.
    """

    def choose(library: ModelLog) -> PublishedModel:
        newest, known = library.newest(name), library.versions(name)
        if not known:
            raise UserError(unknown(library, name))
        earlier = version or max((each for each in known if each < newest), default=0)
        if earlier == newest:
            raise UserError(f"version {newest} of the model {name} is in force already")
        if earlier not in known:
            listed = ", ".join(map(str, known))
            raise UserError(
                f"the model {name} has no earlier version"
                if version is None
                else f"unknown version {version} of the model {name}; kept: {listed}"
            )
        former = library.version(name, earlier)
        restores = earlier if former.restores is None else former.restores
        return PublishedModel(msgspec.structs.replace(former.model, version=newest + 1), wall_ms(), restores)

    return choose


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
    if version is not None and version not in known:
        raise UserError(f"unknown version {version} of the model {name}; kept: {', '.join(map(str, known))}")
    published = library.version(name, version or known[-1])
    return ListedModel(published, known, readers(log).get(name, []))
