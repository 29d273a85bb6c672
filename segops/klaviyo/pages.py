"""Pages of events and of profiles: which to ask for, and how to read them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

import msgspec

from segops.core.values import datetime_ms, format_instant, parse_datetime
from segops.klaviyo.client import ACCOUNTS, EVENTS, PROFILES, Endpoint, KlaviyoClient
from segops.klaviyo.errors import KlaviyoError

Stream = Literal["profiles", "events"]
STREAMS: Final[tuple[Stream, ...]] = ("profiles", "events")

#: Filters on ``updated`` exclude their bound, and its precision is not documented: ask for a second more.
_BEFORE_MS: Final = 1_000

_PROFILE_FIELDS: Final = (
    "created,email,external_id,first_name,id,image,last_name,locale,location,organization,phone_number,"
    "properties,subscriptions,title,updated"
)
_EVENT_QUERY: Final = {
    "fields[event]": "datetime,event_properties,timestamp",
    "fields[metric]": "name",
    "fields[profile]": "email,external_id,phone_number",
    "include": "metric,profile",
    "page[size]": "1000",
    "sort": "datetime",
}
_PROFILE_QUERY: Final = {
    "additional-fields[profile]": "subscriptions",
    "fields[profile]": _PROFILE_FIELDS,
    "page[size]": "100",
    "sort": "updated",
}


class Account(msgspec.Struct, frozen=True):
    """The account that a key belongs to. ``currency`` is that of amounts without one of their own."""

    id: str
    currency: str


class _AccountAttributes(msgspec.Struct):
    preferred_currency: str


class _AccountItem(msgspec.Struct):
    id: str
    attributes: _AccountAttributes


class _Accounts(msgspec.Struct):
    data: list[_AccountItem]


class Reference(msgspec.Struct, frozen=True):
    """Names another object of the same page."""

    id: str


class Relation(msgspec.Struct, frozen=True):
    """A relationship of an object; ``data`` is missing where the object has none."""

    data: Reference | None = None


class Relations(msgspec.Struct, frozen=True):
    """The relationships of an event that are read."""

    profile: Relation = Relation()
    metric: Relation = Relation()


class EventAttributes(msgspec.Struct, frozen=True):
    """The attributes of an event that are read."""

    datetime: str | None = None
    timestamp: int | None = None
    event_properties: dict[str, Any] | None = None


class EventItem(msgspec.Struct, frozen=True):
    """An event of Klaviyo."""

    id: str
    attributes: EventAttributes
    relationships: Relations = Relations()

    @property
    def time_ms(self) -> int | None:
        """When it happened; None if that cannot be read."""
        at = self.attributes
        return instant_ms(at.datetime) if at.timestamp is None else at.timestamp * 1_000


class Marketing(msgspec.Struct, frozen=True, rename={"can_receive_any": "can_receive"}):
    """Consent to marketing in one channel, under the names of each channel."""

    consent: str
    can_receive_email_marketing: bool | None = None
    can_receive_sms_marketing: bool | None = None
    can_receive_push_marketing: bool | None = None
    can_receive_any: bool | None = None
    suppression: list[dict[str, Any]] | None = None


class Channel(msgspec.Struct, frozen=True):
    """What a profile subscribed to in a channel."""

    marketing: Marketing | None = None


class Subscriptions(msgspec.Struct, frozen=True):
    """What a profile subscribed to."""

    email: Channel | None = None
    sms: Channel | None = None
    mobile_push: Channel | None = None
    whatsapp: Channel | None = None


class Identity(msgspec.Struct, frozen=True):
    """The identifiers of a profile."""

    email: str | None = None
    phone_number: str | None = None
    external_id: str | None = None


class ProfileAttributes(Identity, frozen=True, kw_only=True):
    """The attributes of a profile that are read."""

    subscriptions: Subscriptions | None
    first_name: str | None = None
    last_name: str | None = None
    organization: str | None = None
    locale: str | None = None
    title: str | None = None
    image: str | None = None
    created: str | None = None
    updated: str | None = None
    location: dict[str, Any] | None = None
    properties: dict[str, Any] | None = None


class ProfileItem(msgspec.Struct, frozen=True):
    """A profile of Klaviyo with its consent."""

    id: str
    attributes: ProfileAttributes

    @property
    def time_ms(self) -> int | None:
        """When it was last updated; None if that cannot be read."""
        return instant_ms(self.attributes.updated)


class _MetricAttributes(msgspec.Struct):
    name: str


class _Metric(msgspec.Struct, tag_field="type", tag="metric"):
    id: str
    attributes: _MetricAttributes


class _IncludedProfile(msgspec.Struct, tag_field="type", tag="profile"):
    id: str
    attributes: Identity


class _Links(msgspec.Struct):
    next: str | None = None


class _Page(msgspec.Struct):
    data: list[msgspec.Raw]
    links: _Links = msgspec.field(default_factory=_Links)
    included: list[msgspec.Raw] = []


@dataclass(slots=True)
class Page:
    """The items of a page as received, and the metrics and profiles that they refer to, by id."""

    items: list[bytes]
    cursor: str | None = None
    metrics: dict[str, str] = field(default_factory=dict)
    profiles: dict[str, Identity] = field(default_factory=dict)


_page = msgspec.json.Decoder(_Page)
_accounts = msgspec.json.Decoder(_Accounts)
_included: msgspec.json.Decoder[_Metric | _IncludedProfile] = msgspec.json.Decoder(_Metric | _IncludedProfile)


def instant_ms(text: str | None) -> int | None:
    """Return an instant in ms; None if it is missing or cannot be read."""
    found = parse_datetime(text) if text else None
    return None if found is None else datetime_ms(found)


def read_page(body: bytes) -> Page:
    """Read a page; its items are left as they are. Raises KlaviyoError."""
    try:
        raw = _page.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise KlaviyoError(f"expected a page of objects: {error}") from error
    page = Page([bytes(item) for item in raw.data], _cursor(raw.links.next))
    for each in raw.included:
        _include(page, each)
    return page


def _include(page: Page, raw: msgspec.Raw) -> None:
    try:
        found = _included.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return  # the events that refer to it are reported, with what they lack
    if isinstance(found, _Metric):
        page.metrics[found.id] = found.attributes.name
    else:
        page.profiles[found.id] = found.attributes


def _cursor(link: str | None) -> str | None:
    """Return the cursor of a link. Only the cursor is used: a link cannot lead requests elsewhere.

    >>> _cursor("https://a.klaviyo.com/api/events?page%5Bcursor%5D=bmV4dA&sort=datetime")
    'bmV4dA'
    """
    if link is None:
        return None
    found = parse_qs(urlsplit(link).query).get("page[cursor]")
    if not found:
        raise KlaviyoError("expected a page[cursor] in the link to the next page")
    return found[0]


async def read_account(client: KlaviyoClient) -> Account:
    """Return the account of the key. Raises as ``KlaviyoClient.get``."""
    body = await client.get(ACCOUNTS, {"fields[account]": "preferred_currency"})
    try:
        (found,) = _accounts.decode(body).data
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise KlaviyoError(f"{ACCOUNTS.path}: expected one account: {error}") from error
    return Account(found.id, found.attributes.preferred_currency)


async def read_pages(
    client: KlaviyoClient, stream: Stream, from_ms: int | None, until_ms: int | None
) -> AsyncIterator[Page]:
    """Yield the pages from ``from_ms`` (None: all) to before ``until_ms`` (None: now), in order of time.

    Raises as ``KlaviyoClient.get``: CursorExpired only after a page.
    """
    endpoint, query = _query(stream, from_ms, until_ms)
    cursor: str | None = None
    while True:
        page = read_page(await client.get(endpoint, query if cursor is None else _next(query, cursor)))
        yield page
        cursor = page.cursor
        if cursor is None:
            return


def _next(query: Mapping[str, str], cursor: str) -> dict[str, str]:
    return {**query, "page[cursor]": cursor}


def _query(stream: Stream, from_ms: int | None, until_ms: int | None) -> tuple[Endpoint, dict[str, str]]:
    """Return the endpoint and the parameters.

    >>> _query("events", 0, 1_000)[1]["filter"]
    'greater-or-equal(datetime,1970-01-01T00:00:00.000Z),less-than(datetime,1970-01-01T00:00:01.000Z)'
    >>> _query("profiles", 1_000, None)[1]["filter"]
    'greater-than(updated,1970-01-01T00:00:00.000Z)'
    """
    if stream == "events":
        endpoint, query, field, first = EVENTS, _EVENT_QUERY, "datetime", "greater-or-equal"
    else:
        endpoint, query, field, first = PROFILES, _PROFILE_QUERY, "updated", "greater-than"
        from_ms = None if from_ms is None else from_ms - _BEFORE_MS
    bounds = [
        f"{operator}({field},{format_instant(ms)})"
        for operator, ms in ((first, from_ms), ("less-than", until_ms))
        if ms is not None
    ]
    return endpoint, {**query, **({"filter": ",".join(bounds)} if bounds else {})}
