"""The text of a digest: how many entered and left an audience, and a few names if they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from segops.core.delivery.messages import Message, Person
from segops.core.delivery.model import ERASED
from segops.core.text import printable
from segops.destinations.people import trait_at

_ACTIONS: Final = ("entered", "exited")
_MAX_NAMES: Final = 5
_MAX_NAME: Final = 40
_TRAIT: Final = "trait."
_OWN: Final[Mapping[str, Callable[[Person], Any]]] = {
    "email": lambda person: person.email,
    "user_id": lambda person: person.user_id,
}
#: ``&``, ``<`` and ``>`` begin mentions and links; a grave accent would end the code in which a name stands.
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "`": "'"})

Namer = Callable[[Person], Any]


def namer_of(show: object) -> Namer | None:
    """Return what names a person by an option: ``email``, ``user_id`` or ``trait.PATH``; None for no option.

    Raises ValueError for anything else.
    """
    if show is None:
        return None
    if isinstance(show, str) and show in _OWN:
        return _OWN[show]
    if isinstance(show, str) and show.startswith(_TRAIT) and all(show.split(".")):
        path = show.removeprefix(_TRAIT)
        return lambda person: trait_at(person.traits, path)
    raise ValueError(f"expected email, user_id or trait.PATH, got {show!r}")


def is_told(message: Message) -> bool:
    """Whether people read of a message: quiet entries and exits, and updates, are not worth a digest."""
    return message.action in _ACTIONS and not message.quiet


def digest_of(messages: Sequence[Message], namer: Namer | None) -> str:
    """Return the text about the messages of one audience that are told; empty if none is.

    >>> ann = Person("p1", email="ann@shop.example")
    >>> told = [Message("entered", "winback", "p1", ann, "c1", 1, "event", 5)]
    >>> digest_of(told, None), digest_of(told, namer_of("email"))
    ('winback: 1 entered', 'winback: 1 entered (`ann@shop.example`)')
    """
    told = [each for each in messages if is_told(each)]
    parts = [_part(action, [each for each in told if each.action == action], namer) for action in _ACTIONS]
    counted = ", ".join(filter(None, parts))
    return f"{told[0].audience}: {counted}" if told else ""


def _part(action: str, messages: Sequence[Message], namer: Namer | None) -> str:
    if not messages:
        return ""
    text = f"{len(messages):,} {action}"
    names = [] if namer is None else _names(messages, namer)
    if not names:
        return text
    more = ", …" if len(names) < len(messages) else ""
    return f"{text} ({', '.join(names)}{more})"


def _names(messages: Sequence[Message], namer: Namer) -> list[str]:
    """Return the names of the first people that have one; those who were erased have none."""
    values = (namer(each.person) for each in messages if each.reason != ERASED)
    texts = (str(each).strip() for each in values if isinstance(each, str | int | float))
    return [_code(each) for each in texts if each][:_MAX_NAMES]


def _code(text: str) -> str:
    r"""Return text as code, so that it mentions no one and is no link.

    >>> _code("<!channel> `@here`")
    "`&lt;!channel&gt; '@here'`"
    """
    short = text if len(text) <= _MAX_NAME else text[:_MAX_NAME] + "…"
    return f"`{printable(short).translate(_ESCAPES)}`"
