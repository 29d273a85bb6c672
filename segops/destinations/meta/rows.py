"""The rows of people that are uploaded to Meta, and the payloads that hold them.

Source: Meta's documentation, "Customer File Custom Audiences" ("Hashing and Normalizing Data", "External
Identifiers") and "Custom Audience Users": hashes are SHA-256 in hexadecimal digits, of e-mail addresses in
lower case and of telephone numbers as digits that begin with the code of the country; EXTERN_ID is not
hashed; what is unknown in a row is empty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from segops.core.delivery.messages import Message, Person
from segops.destinations.people import email_of, phone_of, sha256_hex, trait_at

IdentifyBy = Literal["email", "phone", "user_id"]

_VALUE: Final = "LOOKALIKE_VALUE"
#: How people are known -> the column that names them. Exits are told by it alone.
_KEYS: Final[Mapping[IdentifyBy, str]] = {"email": "EMAIL", "phone": "PHONE", "user_id": "EXTERN_ID"}
_CELLS: Final[Mapping[str, Callable[[str], str]]] = {
    "EMAIL": sha256_hex,
    "PHONE": lambda phone: sha256_hex(phone.removeprefix("+")),
    "EXTERN_ID": lambda user_id: user_id,
}


class People(NamedTuple):
    """How people are known. ``phone``: the path of the trait with telephone numbers."""

    by: IdentifyBy
    phone: str

    def address_of(self, person: Person) -> str | None:
        """Return the e-mail address, the telephone number in E.164, or the user id; None without it."""
        if self.by == "email":
            return email_of(person.email)
        if self.by == "phone":
            return phone_of(trait_at(person.traits, self.phone))
        return (person.user_id or "").strip() or None

    def added(self, messages: Sequence[Message], value: str | None) -> dict[str, Any]:
        """Return the payload that adds people; ``value``: the property with the value of each."""
        key = _KEYS[self.by]
        schema = [key, *(["EMAIL", "PHONE"] if self.by == "user_id" else []), *([_VALUE] if value else [])]
        rows = [[*self._identifiers(each), *_values(each, value)] for each in messages]
        return {"payload": {"schema": schema, "data": rows}}

    def removed(self, messages: Sequence[Message]) -> dict[str, Any]:
        """Return the payload that removes people, by what they were added by."""
        key = _KEYS[self.by]
        rows = [[_CELLS[key](each.address)] for each in messages]
        return {"payload": {"schema": [key], "data": rows}}

    def _identifiers(self, message: Message) -> list[str]:
        found = [_CELLS[_KEYS[self.by]](message.address)]
        if self.by == "user_id":
            person = message.person
            others = {"EMAIL": email_of(person.email), "PHONE": phone_of(trait_at(person.traits, self.phone))}
            found += [_CELLS[name](each) if each else "" for name, each in others.items()]
        return found


def _values(message: Message, name: str | None) -> list[int | float]:
    """Return the value of a person; 0, the least that there is, for one that is unknown or negative."""
    if name is None:
        return []
    value = message.properties.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return [0]
    return [max(value, 0)]
