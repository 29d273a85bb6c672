"""Which names and values of events may be shown: closed rules, so that what is unknown is hidden."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

#: What stands for a name or value that is not shown.
HIDDEN: Final = "*"
_MAX_PATH: Final = 300
_NAME: Final = re.compile(r"[^\W\d][\w $.\[\]/&+:()-]{0,79}")
_VALUE: Final = re.compile(r"[^\W_](?:[\w .&/+-]{0,38}[\w.+])?")
_LONG_DIGITS: Final = re.compile(r"\d{5}|(?:\d[ ./-]?){7}")
#: Identifiers and random tokens: long, and of digits among letters.
_TOKEN: Final = re.compile(r"(?=\S*\d)(?=\S*[^\W\d_])[\w.+/-]{16,}")
#: Names of fields whose values are about one person, or identify something of that person.
_PERSONAL_WORDS: Final = (
    "address addr alias avatar birth birthday birthdate bio comment contact cookie description dob email "
    "firstname first_name fullname full_name geo guid handle hash iban id ids imei ip key lastname "
    "last_name lat latitude link lng location login lon longitude mail message middlename mobile msisdn "
    "name nickname note passport password path phone postal postcode query referrer search secret serial "
    "session signature ssn street surname tax tel telephone text title token uri url user username "
    "useragent uuid vat vin zip zipcode"
)
_PERSONAL: Final = frozenset(_PERSONAL_WORDS.split())
_WORDS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


def shown_name(name: str) -> str:
    """Return the name of an event or property, or ``*`` if it may hold a value: an address, a number, an id.

    >>> [shown_name(name) for name in ("Order Completed", "items.0", "ann@shop.example", "u12345")]
    ['Order Completed', 'items.0', '*', '*']
    """
    hidden = (
        _NAME.fullmatch(name) is None or _LONG_DIGITS.search(name) or any(map(_TOKEN.fullmatch, name.split()))
    )
    return HIDDEN if hidden else name


def shown_path(path: str) -> str:
    """Return a path up to the first name that is hidden.

    >>> shown_path("ids.ann@shop.example"), shown_path("items[3].sku")
    ('ids.*', 'items[3].sku')
    """
    names = [shown_name(name) for name in path.split(".")]
    return ".".join(names[: names.index(HIDDEN) + 1] if HIDDEN in names else names)[:_MAX_PATH]


def is_shown_value(text: str) -> bool:
    """Return whether a text may be a label such as ``Shoes``: short, without addresses, numbers and ids.

    >>> [is_shown_value(text) for text in ("Shoes", "EUR", "ann@shop.example", "+49 151 2345678")]
    [True, True, False, False]
    >>> is_shown_value("a8f3e2b1c9d0e7f6")
    False
    """
    return (
        _VALUE.fullmatch(text) is not None
        and _LONG_DIGITS.search(text) is None
        and not any(map(_TOKEN.fullmatch, text.split()))
    )


def is_personal(path: str) -> bool:
    """Return whether the values of a field are never shown, by the words of its name.

    >>> [is_personal(path) for path in ("brand", "customer.firstName", "product_id", "shippingAddress")]
    [False, True, True, True]
    """
    last = path.rpartition(".")[2]
    words = [word.lower() for word in _WORDS.findall(last)]
    joined = {a + b for a, b in pairwise(words)}
    return last.lower() in _PERSONAL or not _PERSONAL.isdisjoint({*words, *joined})
