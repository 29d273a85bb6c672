"""What ``segops up`` says once everything is ready."""

from __future__ import annotations

from pathlib import Path

import pytest

from segops.brokers import LocalBroker
from segops.config import load
from segops.shopify.topics import MAPPED
from segops.up.components import SupervisedBroker
from segops.up.folder import data_folder
from segops.up.status import announcement

SECRET = "shpss_0123456789"


def said(folder: Path, **sections: dict[str, object]) -> str:
    """Return the announcement with these settings."""
    with data_folder(folder) as locked:
        broker = SupervisedBroker(LocalBroker("own", "yours", "kafka:9092"))
        return announcement([broker], locked, load(**sections))


def test_webhooks_of_shops_are_announced_with_address_and_topics(tmp_path: Path) -> None:
    shopify: dict[str, object] = {"secrets": SECRET, "shops": "b.myshopify.com, a.myshopify.com"}
    text = said(tmp_path, shopify=shopify, collect={"port": 7080})
    _, begin, rest = text.partition("\nWebhooks of ")
    assert begin and rest.startswith(
        "a.myshopify.com, b.myshopify.com are received at http://127.0.0.1:7080/v1/shopify"
    )
    topics = rest.partition("Topics:\n")[2].partition("\n\n")[0]
    assert topics.replace("\n", " ").replace(",", " ").split() == [*MAPPED]
    assert max(map(len, topics.splitlines())) <= 110
    assert SECRET not in text


@pytest.mark.parametrize("shopify", [{}, {"shops": "a.myshopify.com"}])
def test_no_webhooks_are_announced_without_a_secret(tmp_path: Path, shopify: dict[str, object]) -> None:
    assert "Webhooks" not in said(tmp_path, shopify=shopify)
