"""The adapter of Google: people in Customer Match lists, by hashed identifiers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from pydantic import Field

from segops.config import Settings
from segops.destinations.google.api import DataManagerApi, Verb, url_of
from segops.destinations.google.bodies import IdentifyBy, Receiver, addresses_of
from segops.destinations.google.failures import refused_records
from segops.destinations.google.tokens import Tokens, account_of
from segops.destinations.http import Answer, HttpClient
from segops.destinations.model import ApiUrl, Form, Secret
from segops.destinations.port import (
    Accepted,
    Batch,
    DestinationAway,
    DestinationRefuses,
    Finding,
    Message,
    Outcome,
    Person,
    Refused,
    Request,
)
from segops.metrics import Metrics

#: A request takes at most 10,000 members; each is shorter than its message.
_MAX_MESSAGES: Final = 10_000
_MAX_BYTES: Final = 8 << 20
#: An answer names the records that are refused; without an end to them something is wrong with all.
_MAX_ATTEMPTS: Final = 10
_ACCOUNT: Final = r"^[0-9]{1,20}$"
#: No one has an address below ``invalid`` (RFC 2606); its hash is no one's telephone number either.
_NO_ONE: Final = "check@segops.invalid"

Consent = Literal["granted", "denied"]


class GoogleForm(Form):
    """What is written of an account of Google. ``key``: the key file of a service account, all of it.

    ``login_account``: the manager account by which the service account has access, if it is another one.
    """

    kind: Literal["google"]
    key: Secret
    account: str = Field(pattern=_ACCOUNT)
    account_type: Literal["GOOGLE_ADS", "DISPLAY_VIDEO_ADVERTISER"] = "GOOGLE_ADS"
    login_account: str | None = Field(default=None, pattern=_ACCOUNT)
    customer_match_terms: Literal["accepted"]
    ad_user_data: Consent | None = None
    ad_personalization: Consent | None = None
    identify_by: IdentifyBy = "email"
    phone: str = Field(default="phone", min_length=1, max_length=200)
    url: ApiUrl = "https://datamanager.googleapis.com"
    timeout_s: float = Field(default=60.0, gt=0, le=120)

    @property
    def receiver(self) -> Receiver:
        """Who receives the lists."""
        accounts = {"operatingAccount": self.account, "loginAccount": self.login_account}
        account = {
            name: {"accountType": self.account_type, "accountId": each}
            for name, each in accounts.items()
            if each is not None
        }
        said = {"adUserData": self.ad_user_data, "adPersonalization": self.ad_personalization}
        consent = {name: f"CONSENT_{each.upper()}" for name, each in said.items() if each is not None}
        return Receiver(account, self.identify_by, self.phone, consent)


class Google:
    """The adapter of one account. ``options``: ``audience``, the id of a list."""

    batch = Batch(_MAX_MESSAGES, _MAX_BYTES)

    def __init__(self, manager: DataManagerApi, form: GoogleForm) -> None:
        self._manager = manager
        self._url = form.url
        self._receiver = form.receiver

    def address_of(self, person: Person) -> str | None:
        """Return the e-mail address or the telephone number, normalised."""
        return self._receiver.address_of(person)

    async def send(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Outcome]:
        """Add those who are members, and remove those who are not."""
        audience = _audience(options)
        found = await self._told("ingest", addresses_of(messages, "entered"), audience)
        found |= await self._told("remove", addresses_of(messages, "exited"), audience)
        return [found.get(each.address, Accepted()) for each in messages]

    async def _told(self, verb: Verb, addresses: Sequence[str], audience: str) -> dict[str, Outcome]:
        """Add or remove people; return the outcomes. The rest is sent again without refused records."""
        found: dict[str, Outcome] = {}
        left = [*addresses]
        for _ in range(_MAX_ATTEMPTS):
            if not left:
                return found
            answer = await self._manager.call(verb, self._body(verb, left, audience))
            if answer.is_accepted:
                return found | dict.fromkeys(left, Accepted(_request_id(answer)))
            refused = refused_records(answer, len(left))
            found |= {left[place]: Refused(reason) for place, reason in refused.items()}
            left = [each for place, each in enumerate(left) if place not in refused]
        raise DestinationRefuses(f"the list {audience}: records were refused in {_MAX_ATTEMPTS} requests")

    def _body(self, verb: Verb, addresses: Sequence[str], audience: str) -> dict[str, Any]:
        make = self._receiver.ingested if verb == "ingest" else self._receiver.removed
        return make(addresses, audience)

    def preview(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Request]:
        """Return the requests that add and remove, with hashes instead of people."""
        audience = _audience(options)
        told: list[tuple[Verb, list[str]]] = [
            ("ingest", addresses_of(messages, "entered")),
            ("remove", addresses_of(messages, "exited")),
        ]
        return [
            Request("POST", url_of(self._url, verb), self._body(verb, addresses, audience))
            for verb, addresses in told
            if addresses
        ]

    async def check(self, options: Mapping[str, Any]) -> Sequence[Finding]:
        """Obtain a token, and let Google validate a request for the list, which is not carried out."""
        try:
            await self._manager.authorise()
        except (DestinationAway, DestinationRefuses) as error:
            return [Finding(False, f"the service account: {error}")]
        found = [Finding(True, "the service account: found")]
        if "audience" in options:
            found.append(await self._validated(options))
        return found

    async def _validated(self, options: Mapping[str, Any]) -> Finding:
        try:
            audience = _audience(options)
            body = self._receiver.ingested([_NO_ONE], audience)
            answer = await self._manager.call("ingest", {**body, "validateOnly": True})
        except (DestinationAway, DestinationRefuses) as error:
            return Finding(False, f"the list {options['audience']}: {error}")
        ok = answer.is_accepted
        return Finding(ok, f"the list {audience}: {'found' if ok else answer.detail}")

    def members(self, options: Mapping[str, Any]) -> AsyncIterator[str] | None:
        """Return None: Google shows no one who is in a list."""
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._manager.close()


def open_google(form: GoogleForm, _settings: Settings, metrics: Metrics) -> Google:
    """Open an account. Raises UserError for a missing or invalid key, and without the extra."""
    account = account_of(form.name, form.key.read())
    client = HttpClient(form.name, metrics, timeout_s=form.timeout_s)
    return Google(DataManagerApi(client, form.url, Tokens(client, account)), form)


def _audience(options: Mapping[str, Any]) -> str:
    audience = options.get("audience")
    if audience is None:
        raise DestinationRefuses("missing option audience: the id of a Customer Match list")
    if not (str(audience).isascii() and str(audience).isdecimal()):
        raise DestinationRefuses(f"audience: expected the number of a Customer Match list, got {audience!r}")
    return str(audience)


def _request_id(answer: Answer) -> str:
    try:
        return str(msgspec.json.decode(answer.body, type=dict[str, Any]).get("requestId") or "")
    except msgspec.DecodeError:
        raise DestinationAway(f"expected JSON, got status {answer.status}") from None
