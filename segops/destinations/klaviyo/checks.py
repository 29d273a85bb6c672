"""What a person should know before anything is sent: the scopes of a key, lists, and the flows of these."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Final

from segops.destinations.http import Answer
from segops.destinations.klaviyo import api
from segops.destinations.klaviyo.api import Endpoint, KlaviyoApi, document_of
from segops.destinations.port import DestinationAway, DestinationRefuses, Finding

_INVALID: Final = 400
_PATIENCE_S: Final = 60.0
#: Bodies that lack what each request needs, so that nothing is written: 400 says that the key may call.
_INCOMPLETE: Final[Mapping[Endpoint, Mapping[str, Any]]] = {
    api.IMPORT: {"data": {"type": "profile-bulk-import-job", "attributes": {}}},
    api.PROFILE: {"data": {"type": "profile"}},
    api.EVENT: {"data": {"type": "event", "attributes": {}}},
}


async def check(account: KlaviyoApi, list_id: str | None, metric: str | None) -> Sequence[Finding]:
    """Read the account, the list and its flows, and try the scopes of what would be sent."""
    found = [await _read(account, "the account", api.ACCOUNTS)]
    if list_id is not None:
        found += [each async for each in _list(account, list_id)]
        found.append(await _read(account, f"members of the list {list_id}", api.MEMBERS, list_id))
    for endpoint in _written(list_id, metric):
        found.append(await _tried(account, endpoint))
    return found


def _written(list_id: str | None, metric: str | None) -> Iterator[Endpoint]:
    if list_id is not None:
        yield api.IMPORT
    elif metric is not None:
        yield api.PROFILE
    if metric is not None:
        yield api.EVENT


async def _call(account: KlaviyoApi, endpoint: Endpoint, of: str = "", **more: Any) -> Answer:
    """Return the answer to a request; ask once more if other programs have used up the rate for a while."""
    try:
        return await account.call(endpoint, of, **more)
    except DestinationAway as error:
        if not 0 < error.retry_after_s <= _PATIENCE_S:
            raise
        return await account.call(endpoint, of, **more)


async def _read(account: KlaviyoApi, what: str, endpoint: Endpoint, of: str = "") -> Finding:
    try:
        answer = await _call(account, endpoint, of)
    except (DestinationAway, DestinationRefuses) as error:
        return Finding(False, f"{what}: {error}")
    return Finding(answer.is_accepted, f"{what}: {'found' if answer.is_accepted else answer.detail}")


async def _tried(account: KlaviyoApi, endpoint: Endpoint) -> Finding:
    """Send a request that lacks what it needs: it is invalid for a key that may call, else forbidden."""
    try:
        answer = await _call(account, endpoint, body=_INCOMPLETE[endpoint])
    except (DestinationAway, DestinationRefuses) as error:
        return Finding(False, str(error))
    if answer.status == _INVALID:
        return Finding(True, f"{endpoint}: allowed")
    return Finding(False, f"{endpoint}: expected status 400 for an incomplete request, got {answer.detail}")


async def _list(account: KlaviyoApi, list_id: str) -> AsyncIterator[Finding]:
    """Yield what is known of a list: that it exists, and its live flows, which entries begin."""
    try:
        answer = await _call(account, api.LIST, list_id, query={"include": "flow-triggers"})
    except DestinationAway as error:
        yield Finding(False, f"the list {list_id}: {error}")
        return
    except DestinationRefuses as error:
        yield await _read(account, f"the list {list_id}", api.LIST, list_id)
        yield Finding(False, f"flows of the list {list_id}: unknown, flows:read is needed for them: {error}")
        return
    if not answer.is_accepted:
        yield Finding(False, f"the list {list_id}: {answer.detail}")
        return
    yield Finding(True, f"the list {list_id}: found")
    for name in _live_flows(document_of(answer)):
        text = f"the list {list_id}: each entry begins the live flow {name!r}"
        yield Finding(True, text, ok_for_existing=False)


def _live_flows(document: Mapping[str, Any]) -> Iterator[str]:
    for each in document.get("included") or ():
        attributes = each.get("attributes") or {}
        is_live = attributes.get("status") == "live" and not attributes.get("archived")
        if each.get("type") == "flow" and is_live:
            yield str(attributes.get("name") or each.get("id"))
