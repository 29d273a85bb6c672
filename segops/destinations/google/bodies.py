"""The bodies of requests to the Data Manager API, and how it knows people.

Source: Google's documentation of the Data Manager API, "Format user data" (hashes are SHA-256 of normalised
values, here in hexadecimal digits; at Gmail, dots and what follows a plus sign do not count),
``audienceMembers.ingest`` and ``audienceMembers.remove``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

from segops.core.delivery.messages import Message, Person
from segops.destinations.people import email_of, phone_of, sha256_hex, trait_at

IdentifyBy = Literal["email", "phone"]
_FIELDS: Final = {"email": "emailAddress", "phone": "phoneNumber"}
_GMAIL: Final = ("gmail.com", "googlemail.com")


class Receiver(NamedTuple):
    """Who receives lists, how people are known there, and what is said of all of them.

    ``account``: ``operatingAccount`` and ``loginAccount``; ``consent``: its fields, or nothing.
    """

    account: dict[str, Any]
    by: IdentifyBy
    phone: str
    consent: dict[str, str]

    def address_of(self, person: Person) -> str | None:
        """Return the e-mail address as Google knows it, or the telephone number in E.164; None without it."""
        if self.by == "phone":
            return phone_of(trait_at(person.traits, self.phone))
        found = email_of(person.email)
        return None if found is None else google_email(found)

    def ingested(self, addresses: Sequence[str], audience: str) -> dict[str, Any]:
        """Return the body that adds people to a list."""
        consent = {"consent": self.consent} if self.consent else {}
        terms = {"customerMatchTermsOfServiceStatus": "ACCEPTED"}
        return {**self.removed(addresses, audience), **consent, "termsOfService": terms}

    def removed(self, addresses: Sequence[str], audience: str) -> dict[str, Any]:
        """Return the body that removes people from a list."""
        return {
            "destinations": [{**self.account, "productDestinationId": audience}],
            "audienceMembers": [self._member(each) for each in addresses],
            "encoding": "HEX",
        }

    def _member(self, address: str) -> dict[str, Any]:
        return {"userData": {"userIdentifiers": [{_FIELDS[self.by]: sha256_hex(address)}]}}


def addresses_of(messages: Sequence[Message], action: str) -> list[str]:
    """Return the addresses of the messages with an action."""
    return [each.address for each in messages if each.action == action]


def google_email(address: str) -> str:
    """Return an address in lower case as Google knows it.

    >>> google_email("a.n.n+shop@gmail.com"), google_email("a.n.n+shop@shop.example")
    ('ann@gmail.com', 'a.n.n+shop@shop.example')
    """
    local, at, domain = "".join(address.split()).rpartition("@")
    if domain in _GMAIL:
        local = local.partition("+")[0].replace(".", "")
    return f"{local}{at}{domain}"
