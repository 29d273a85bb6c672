"""The model of buying: fitted on the orders of the demo's first half, compared with the second."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Final

import msgspec

from segops.core.values import format_instant
from segops.demo.commands import Commands
from segops.demo.environment import Environment
from segops.demo.history import OrderHistory

_ORDER: Final = "Order Completed"
#: A model needs 500 customers with orders in the first half; some people only look.
_MIN_PEOPLE: Final = 700


def can_fit(history: OrderHistory) -> bool:
    """Return whether the extra ``fit`` is installed, and there are enough customers for a model."""
    return find_spec("scipy") is not None and history.people >= _MIN_PEOPLE


def fit_model(environment: Environment, history: OrderHistory, say: Callable[[str], None]) -> None:
    """Fit the model as a user does, from a file of all orders; ``say`` prints what a user sees.

    Raises SegopsError if the command fails.
    """
    with environment.orders_file.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("customer", "date", "amount"))
        rows.writerows(_orders(history))
    half = format_instant(history.half_ms)[:10]
    say(f"\nA model of how customers buy, fitted on the orders until {half}, compared with later ones:")
    files = ("--orders", environment.orders_file.name, "--model", environment.model_file.name)
    asyncio.run(Commands(environment, say).run("fit", "bg-nbd", *files, "--until", half))
    say("")


def _orders(history: OrderHistory) -> Iterator[tuple[str, str, float]]:
    for event in history.events:
        call = msgspec.json.decode(event.line)
        revenue = call.get("properties", {}).get("revenue")
        if call.get("event") == _ORDER and revenue is not None:
            yield event.profile, format_instant(event.time_ms), revenue
