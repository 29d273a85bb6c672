"""The topics of webhooks, and what becomes of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from segops.shopify import carts, customers, orders
from segops.shopify.values import Payload

#: Topic -> the events of a payload.
MAPPED: Final[Mapping[str, Callable[[Payload], Iterator[dict[str, Any]]]]] = {
    "orders/create": orders.completed,
    "orders/paid": orders.paid,
    "orders/updated": orders.updated,
    "orders/cancelled": orders.cancelled,
    "customers/create": customers.changed,
    "customers/update": customers.changed,
    "customers/enable": customers.changed,
    "customers/disable": customers.changed,
    "customers/delete": customers.deleted,
    "customers/redact": customers.erasure_requested,
    "customers_email_marketing_consent/update": customers.consented,
    "customers_marketing_consent/update": customers.consented,
    "checkouts/create": carts.checkout_started,
    "checkouts/update": carts.checkout_updated,
    "carts/create": carts.cart_updated,
    "carts/update": carts.cart_updated,
}
#: Accepted without an event. Refunds and edits name no customer: they come with ``orders/updated``.
IGNORED: Final = frozenset(
    (
        "refunds/create",
        "orders/edited",
        "orders/fulfilled",
        "orders/partially_fulfilled",
        "orders/delete",
        "checkouts/delete",
        "customers/data_request",
        "shop/redact",
        "app/uninstalled",
    )
)
#: Topics of which a person has to do something.
MANUAL: Final = frozenset(("customers/data_request", "customers/redact", "shop/redact"))
