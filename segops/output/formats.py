"""The formats by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from segops.config import OWN_FORMAT, Settings
from segops.core.errors import UserError
from segops.output import avro, cloudevents, connect_json, segment
from segops.output.form import Form
from segops.sources.registry import Registry


async def _avro(settings: Settings, registry: Registry) -> Form:
    topics, name = settings.topics, settings.output.format
    return await avro.open_form(registry, topics.output_memberships(name), topics.output_changes(name))


async def _connect_json(_settings: Settings, _registry: Registry) -> Form:
    return connect_json.FORM


async def _segment(settings: Settings, _registry: Registry) -> Form:
    return segment.form(settings.worker.app_id)


async def _cloudevents(settings: Settings, _registry: Registry) -> Form:
    return cloudevents.form(settings.worker.app_id)


_FORMS: Final[Mapping[str, Callable[[Settings, Registry], Awaitable[Form]]]] = {
    "connect-json": _connect_json,
    "avro": _avro,
    "segment": _segment,
    "cloudevents": _cloudevents,
}
FORMATS: Final = tuple(_FORMS)


def check(settings: Settings) -> None:
    """Raise UserError if these settings ask for no topics of a format, or lack what the format requires."""
    name = settings.output.format
    if name == OWN_FORMAT:
        raise UserError(
            f"SEGOPS_OUTPUT_FORMAT is {OWN_FORMAT}: consumers read {settings.topics.membership_state} and "
            f"{settings.topics.membership_changes} themselves. Expected one of {', '.join(FORMATS)}"
        )
    if name == "avro" and settings.sources.registry_url is None:
        raise UserError("SEGOPS_SCHEMA_REGISTRY_URL is required by SEGOPS_OUTPUT_FORMAT=avro")


async def open_form(settings: Settings, registry: Registry) -> Form:
    """Return the format of these settings. Raises UserError, RegistryAway."""
    return await _FORMS[settings.output.format](settings, registry)
