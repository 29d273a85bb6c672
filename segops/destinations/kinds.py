"""The kinds of destinations. Adding one adds a folder, and a line to ``KINDS``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from segops.config import Settings
from segops.core.errors import DefinitionError, Issue, UserError
from segops.destinations.braze.adapter import BrazeForm, open_braze
from segops.destinations.customerio.adapter import CustomerIoForm, open_customerio
from segops.destinations.google.adapter import GoogleForm, open_google
from segops.destinations.hubspot.adapter import HubSpotForm, open_hubspot
from segops.destinations.iterable.adapter import IterableForm, open_iterable
from segops.destinations.klaviyo.adapter import KlaviyoForm, open_klaviyo
from segops.destinations.meta.adapter import MetaForm, open_meta
from segops.destinations.model import Destination, Form
from segops.destinations.port import Adapter
from segops.destinations.segment.adapter import SegmentForm, open_segment
from segops.destinations.slack.adapter import SlackForm, open_slack
from segops.destinations.webhook.adapter import WebhookForm, open_webhook
from segops.metrics import Metrics
from segops.schemas.issues import form_issues


class Kind(NamedTuple):
    """A kind: the model of what is written, and what opens its adapter from that.

    ``begins``: the option by which entries may begin something there, such as a flow that sends messages.
    """

    form: type[Form]
    open: Callable[[Any, Settings, Metrics], Adapter]
    begins: str | None = None


KINDS: Final[Mapping[str, Kind]] = {
    "braze": Kind(BrazeForm, open_braze),
    "customerio": Kind(CustomerIoForm, open_customerio),
    "google": Kind(GoogleForm, open_google),
    "hubspot": Kind(HubSpotForm, open_hubspot),
    "iterable": Kind(IterableForm, open_iterable),
    "klaviyo": Kind(KlaviyoForm, open_klaviyo, begins="list"),
    "meta": Kind(MetaForm, open_meta),
    "segment": Kind(SegmentForm, open_segment),
    "slack": Kind(SlackForm, open_slack),
    "webhook": Kind(WebhookForm, open_webhook),
}


def form_of(written: Mapping[str, Any], name: str, path: str) -> Form:
    """Validate what is written of a destination, in the file ``name`` at ``path``. Raises DefinitionError."""
    kind = KINDS.get(str(written.get("kind")))
    form = Form if kind is None else kind.form
    try:
        found = form.model_validate(written)
    except ValidationError as error:
        if kind is not None or "kind" not in written:
            raise DefinitionError(form_issues(name, path, error)) from None
    else:
        if kind is not None:
            return found
    known = ", ".join(sorted(KINDS))
    reason = f"expected one of {known}, got {written['kind']!r}"
    raise DefinitionError([Issue(name, f"{path}.kind", reason)])


async def refuse_for_existing(
    destination: Destination, options: Mapping[str, Any], settings: Settings, metrics: Metrics
) -> None:
    """Raise UserError if sending the existing members of an audience there begins what only entries should.

    Also raises it if that cannot be verified.
    """
    kind = KINDS.get(destination.kind)
    if kind is None or kind.begins is None or kind.begins not in options:
        return
    adapter = open_adapter(destination, settings, metrics)
    try:
        found = await adapter.check(options)
    finally:
        await adapter.close()
    bad = [each.text for each in found if not each.is_ok("send")]
    if bad:
        raise UserError(f"{destination.name}: {'; '.join(bad)}")


def open_adapter(destination: Destination, settings: Settings, metrics: Metrics) -> Adapter:
    """Open a destination. Raises UserError for a missing secret, and for a kind that is not known here."""
    kind = KINDS.get(destination.kind)
    if kind is None:
        raise UserError(f"{destination.name}: the kind {destination.kind!r} is unknown to this version")
    form = form_of(destination.written, destination.name, "destination")
    return kind.open(form, settings, metrics)
