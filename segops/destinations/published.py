"""Destination files, and the topic of the published destinations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segops.config import Settings
from segops.core.errors import DefinitionError, Issue
from segops.destinations.kinds import form_of
from segops.destinations.model import Destination
from segops.kafka.resources import Change, Kind, ResourceTopic, removed
from segops.schemas.issues import form_issues, unreadable
from segops.schemas.written import read_yaml

_NAME: Final = re.compile("[a-z0-9][a-z0-9-]{0,63}")
_MAX_BYTES: Final = 100_000


class DestinationFileForm(BaseModel):
    """A destination file as written."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: int = Field(ge=1, le=1)
    destinations: list[dict[Any, Any]] = Field(min_length=1)


def load(path: Path) -> list[Destination]:
    """Load the destinations of a file. Raises DefinitionError with all mistakes."""
    name = str(path)
    try:
        form = DestinationFileForm.model_validate(read_yaml(path.read_text("utf-8-sig")))
    except ValidationError as error:
        raise DefinitionError(form_issues(name, "", error)) from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DefinitionError([unreadable(path, error)]) from None
    issues: list[Issue] = []
    found: list[Destination] = []
    for i, written in enumerate(form.destinations):
        at = f"destinations[{i}]"
        try:
            destination = _destination(written, name, at)
        except DefinitionError as error:
            issues += error.issues
            continue
        if destination.name in {each.name for each in found}:
            issues.append(Issue(name, f"{at}.name", f"{destination.name!r} is there already"))
        found.append(destination)
    if issues:
        raise DefinitionError(issues)
    return found


def _destination(written: Mapping[Any, Any], name: str, at: str) -> Destination:
    form = form_of({str(key): value for key, value in written.items()}, name, at)
    if _NAME.fullmatch(form.name) is None:
        reason = f"expected at most 64 lower-case letters, digits and hyphens, got {form.name!r}"
        raise DefinitionError([Issue(name, f"{at}.name", reason)])
    return Destination(form.name, form.kind, form.model_dump(mode="json", exclude_unset=True))


def encode(destination: Destination) -> bytes:
    """Encode the record that publishes a destination."""
    return msgspec.json.encode(destination.written)


def decode(value: bytes) -> Destination:
    """Decode a published destination. Raises ValueError for an invalid record: any client may write one.

    Its kind may be unknown to this version.
    """
    if len(value) > _MAX_BYTES:
        raise ValueError(f"expected at most {_MAX_BYTES} bytes, got {len(value)}")
    written = msgspec.json.decode(value, type=dict[str, Any])
    return Destination(str(written.get("name")), str(written.get("kind")), written)


DESTINATION: Final = Kind("destination", attrgetter("name"), encode, decode)


def topic_of(settings: Settings) -> ResourceTopic[Destination]:
    """Return the topic of the published destinations, by name."""
    return ResourceTopic(DESTINATION, settings.kafka, settings.topics.destinations)


async def publish(
    settings: Settings, destinations: Iterable[Destination], *, prune: bool = False, dry_run: bool = False
) -> list[Change[Destination]]:
    """Publish destinations, all or none, and return the changes. ``prune`` removes all others.

    Raises UserError if the topic is missing or another publisher commits first.
    """
    listed = list(destinations)

    def decide(known: Mapping[str, Destination]) -> list[Change[Destination]]:
        changes = [_change(known.get(each.name), each) for each in listed]
        return changes + (removed(known, [each.name for each in listed]) if prune else [])

    return await topic_of(settings).publish(decide, dry_run=dry_run)


def _change(former: Destination | None, destination: Destination) -> Change[Destination]:
    if former is None:
        return Change(destination.name, "added", destination)
    return Change(destination.name, "unchanged" if former == destination else "changed", destination)
