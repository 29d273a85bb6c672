"""What ``segops up`` says: where everything is, and what to do next."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping, Sequence
from typing import Final

from segops.collector.webhooks import SHOPIFY_PATH
from segops.config import Settings, ShopifySettings
from segops.shopify.topics import MAPPED
from segops.up.components import Component
from segops.up.folder import DataFolder

_EVENT: Final = '{"userId":"ann","event":"Product Viewed","properties":{"sku":"shoe-1"}}'
_WIDTH: Final = 110


def shell_file(environment: Mapping[str, str]) -> str:
    """Return a file that a shell reads so that other commands find this system. It holds no secret."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    return "\n".join(["# Read this in a shell: other segops commands then use this system.", *lines, ""])


def announcement(components: Sequence[Component], folder: DataFolder, settings: Settings) -> str:
    """Return the addresses, the write key, and what to paste next."""
    width = max(len(component.name) for component in components)
    rows = [
        f"  {component.name:<{width}}  {component.address}  {component.state}" for component in components
    ]
    collector = f"http://127.0.0.1:{settings.collect.port}"
    key = _key(folder, settings)
    return "\n".join(
        [
            f"\nsegops is up: data in {folder.path}, logs in {folder.path / 'logs'}; Ctrl-C stops everything",
            *rows,
            f"\nLook at it in a browser: {settings.console.address}",
            f"\nSend an event (write key {key}):",
            f"  curl -u {key}: {collector}/v1/track -H 'content-type: application/json' -d '{_EVENT}'",
            "\nOr from your pages, with @segment/analytics-next:",
            f"  const analytics = AnalyticsBrowser.load({{ writeKey: '{key}', cdnURL: '{collector}' }})",
            "  analytics.track('Product Viewed', { sku: 'shoe-1' })",
            *_webhooks(collector, settings.shopify),
            "\nAsk who is in which exposed segment, with the secret key in a file of its own:",
            f'  curl -H "Authorization: Bearer $(cut -d= -f2 {shlex.quote(str(folder.read_keys_file))})" '
            f"http://127.0.0.1:{settings.serve.port}/v1/memberships/user_id:ann",
            "\nThen, in another terminal in this folder:",
            f"  . {shlex.quote(str(folder.environment_file))}",
            "  segops templates --measure               # ready-made segments, and how large they would be",
            "  segops templates win-back > segments.yaml",
            "  segops plan segments.yaml                # what publishing it would do",
            "  segops apply segments.yaml",
            "  segops watch                             # sizes, then every change as it happens",
        ]
    )


def _webhooks(collector: str, shopify: ShopifySettings) -> list[str]:
    """Return where the webhooks of which shops are received, and their topics, if a secret is set."""
    if not shopify.keys:
        return []
    topics = textwrap.wrap(", ".join(MAPPED), _WIDTH, initial_indent="  ", subsequent_indent="  ")
    shops = ", ".join(sorted(shopify.domains))
    return [
        f"\nWebhooks of {shops} are received at {collector}{SHOPIFY_PATH}, behind a proxy with TLS. Topics:",
        *topics,
    ]


def _key(folder: DataFolder, settings: Settings) -> str:
    """Return the write key of the folder, or a place holder if there are keys of the user's own."""
    own = settings.collect.keys_file != folder.keys_file.resolve() or settings.collect.keys is not None
    return "WRITE_KEY" if own else folder.write_key()
