"""The parsers of currencies, and of ``money`` beside an aggregate."""

from __future__ import annotations

from segops.core.features.feature import Money
from segops.core.rules.parsing.reader import Reader

_OF_MONEY = ("sum", "avg", "min", "max")
#: Aggregate -> its keys that are about money.
MONEY_KEYS: dict[str, tuple[str, ...]] = dict.fromkeys(_OF_MONEY, ("money",))


def read_currency(reader: Reader) -> str:
    """Read the code of a currency."""
    raw = reader.raw
    if not isinstance(raw, str) or len(raw) != 3 or not raw.isupper():
        reader.fail(f"expected a currency code of three capitals, such as EUR, got {raw!r}")
    return raw


def read_money(form: Reader) -> Money:
    """Read the currency of an aggregate, and the path at which an event names its own.

    >>> read_money(Reader({"currency": "EUR"}, "when.money"))
    Money(currency='EUR', path=('currency',))
    """
    currency, path = form.record({"currency": read_currency}, "{currency: EUR}", {"path": Reader.property})
    return Money(currency) if path is None else Money(currency, path)
