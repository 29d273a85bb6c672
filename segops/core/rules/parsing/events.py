"""The parsers of event names and of paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from segops.core.features import ANY_NAME
from segops.core.paths import CONTEXT, Path, event_path, path_text, split_path
from segops.core.rules.parsing.lookups import read_lookup

if TYPE_CHECKING:
    from segops.core.rules.parsing.reader import Reader

#: What stands for every event where a name is expected.
ANY_EVENT: Final = "any_event"

#: The names in the ``context`` of the Segment specification, of RudderStack, and of segops.
CONTEXT_KEYS: Final = frozenset(
    [
        "active",
        "app",
        "campaign",
        "channel",
        "consent",
        "device",
        "externalId",
        "externalIds",
        "groupId",
        "instanceId",
        "ip",
        "library",
        "locale",
        "location",
        "network",
        "os",
        "page",
        "referrer",
        "screen",
        "sessionId",
        "sessionStart",
        "timezone",
        "traits",
        "userAgent",
        "userAgentData",
    ]
)

#: The part of the context to which tracking plans move properties that they omit.
_OMITTED: Final = "protocols"


def names_of(reader: Reader) -> tuple[str, ...]:
    """Read an event name, ``any_event``, or a list of names; return them sorted, without duplicates."""
    if reader.raw == ANY_EVENT:
        return (ANY_NAME,)
    names = reader.raw if isinstance(reader.raw, list) else [reader.raw]
    if not names or not all(isinstance(name, str) and name for name in names):
        reader.fail("expected an event name, any_event, or a non-empty list of event names")
    if ANY_NAME in names and not reader.context.published:
        reader.fail(f"expected {ANY_EVENT}, which stands for every event, got {ANY_NAME!r}")
    if ANY_EVENT in names:
        reader.fail(f"expected {ANY_EVENT} alone, not in a list of names: it stands for every event")
    return tuple(sorted(set(names)))


def path_of_event(reader: Reader, raw: Any) -> Path:
    """Read a path of an event as written, as a text or as a list that begins with properties or context.

    The path may be of a look-up: ``products[product_id].price``.
    """
    looked_up = read_lookup(reader, raw, path_of_event)
    if looked_up is not None:
        return looked_up
    if isinstance(raw, list):
        root, names = _listed(reader, raw, ("properties", "context"))
        path = CONTEXT + names if root == "context" else names
    else:
        path = event_path(raw) if isinstance(raw, str) else ()
        _check(reader, path[2:] if path[:2] == CONTEXT else path, raw)
    if path[:2] == CONTEXT and path[2] == _OMITTED:
        reader.fail(f"context.{_OMITTED} holds what a tracking plan omits: no rule reads it")
    if path[:2] == CONTEXT and path[2] not in CONTEXT_KEYS:
        reader.warn(f"{path_text(path[:3])} is in no specification of context; is {path[2]} a property?")
    return path


def path_of_trait(reader: Reader, raw: Any) -> Path:
    """Read a path of a trait as written, as a text or as a list that begins with traits."""
    if isinstance(raw, list):
        return _listed(reader, raw, ("traits",))[1]
    path = split_path(raw) if isinstance(raw, str) else ()
    _check(reader, path, raw)
    return path


def path_of_element(reader: Reader, raw: Any) -> Path:
    """Read a path within an element of a list, or of a look-up by a key in it."""
    looked_up = read_lookup(reader, raw, path_of_element)
    if looked_up is not None:
        return looked_up
    path = split_path(raw) if isinstance(raw, str) else ()
    _check(reader, path, raw)
    return path


def _check(reader: Reader, names: Path, raw: Any) -> None:
    if not names or not all(names):
        reader.fail(f"expected a property path, such as cart.total, got {raw!r}")


def _listed(reader: Reader, raw: list[Any], roots: tuple[str, ...]) -> tuple[str, Path]:
    if len(raw) < 2 or raw[0] not in roots or not all(isinstance(name, str) and name for name in raw):
        example = f'[{roots[0]}, "a.b"]'
        reader.fail(f"expected a list of {' or '.join(roots)} and names, such as {example}, got {raw!r}")
    return raw[0], tuple(raw[1:])
