"""Look at destinations as they are outside: whether they can be reached, and what sending begins there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry

from segops.config import Settings
from segops.core.errors import UserError
from segops.destinations import published
from segops.destinations.kinds import open_adapter, refuse_for_existing
from segops.destinations.port import Finding
from segops.metrics import Metrics
from segops.operations.audiences.store import topic_of as audiences_topic


class Checked(NamedTuple):
    """The findings of a check. ``existing``: that of the audience that was looked at, "" without one."""

    findings: Sequence[Finding]
    existing: str

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return all(each.is_ok(self.existing) for each in self.findings)


async def check(settings: Settings, name: str, audience: str | None = None) -> Checked:
    """Verify that a published destination can be reached with its secrets, by harmless requests.

    ``audience``: also what its delivery names there, such as a list. Raises UserError for an unknown name, an
    audience that does not deliver there, and a secret that is missing in this process.
    """
    known = await published.topic_of(settings).read()
    if name not in known:
        raise UserError(f"unknown destination {name!r}; published: {', '.join(sorted(known)) or 'none'}")
    options, existing = ({}, "") if audience is None else await _options(settings, name, audience)
    adapter = open_adapter(known[name], settings, Metrics(CollectorRegistry()))
    try:
        return Checked(await adapter.check(options), existing)
    finally:
        await adapter.close()


async def _options(settings: Settings, name: str, audience: str) -> tuple[Mapping[str, Any], str]:
    records = await audiences_topic(settings).read()
    if audience not in records:
        raise UserError(f"unknown audience {audience!r}; published: {', '.join(sorted(records)) or 'none'}")
    for each in records[audience].audience.deliver:
        if each.to == name:
            return each.options, records[audience].audience.existing
    raise UserError(f"the audience {audience} does not deliver to {name}")


async def refuse_flows(settings: Settings, key: str) -> None:
    """Raise UserError if sending those who are members already may begin live flows at a destination."""
    record = (await audiences_topic(settings).read()).get(key)
    if record is None or record.audience.existing != "send":
        return
    known, metrics = await published.topic_of(settings).read(), Metrics(CollectorRegistry())
    for each in record.audience.deliver:
        if each.to not in known:
            continue
        try:
            await refuse_for_existing(known[each.to], each.options, settings, metrics)
        except UserError as error:
            raise UserError(f"not approved: {key} has existing: send, and {error}") from None
