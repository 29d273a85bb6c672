"""Static lists: sets of identifiers that a person uploads, and the rule node ``list`` reads.

Each upload is a new *version* of its list. A *listing* says that a version names an identifier; the profile
there stores it as state, not as an event. A rule reads the version that is in force, which is bound to it
when definitions come into force. So an upload changes no membership until its version replaces the former
one.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from segops.core.profile import Profile
from segops.core.rules.model import All, Any, AtLeast, ListInForce, Node, Not, OnList, below
from segops.core.values import format_instant

#: The versions of one list that a profile remembers: the one in force, and those of uploads that were not
#: completed, or not yet.
MAX_VERSIONS: Final = 16


def note_listing(profile: Profile, key: str, version: int, least: int) -> bool:
    """Store that a version of a list names the profile; return whether that was new.

    Versions below ``least`` are out of use and are dropped.

    >>> profile = Profile("user_id:u1", lists={"vip": [1, 3]})
    >>> note_listing(profile, "vip", 4, 3), note_listing(profile, "vip", 4, 3), profile.lists
    (True, False, {'vip': [3, 4]})
    """
    known = profile.lists.get(key, [])
    if version in known:
        return False
    kept = [each for each in known if each >= least]
    insort(kept, version)
    profile.lists[key] = _bounded(kept)
    return True


def _bounded(versions: list[int]) -> list[int]:
    """Drop the uploads after the lowest version, which may be in force, that are the oldest."""
    return versions if len(versions) <= MAX_VERSIONS else [versions[0], *versions[1 - MAX_VERSIONS :]]


def merge_lists(survivor: Profile, source: Profile) -> None:
    """Let the survivor be on every list that either profile is on."""
    for key, versions in source.lists.items():
        survivor.lists[key] = _bounded(sorted({*versions, *survivor.lists.get(key, ())}))


def listed_as(profile: Profile, node: OnList) -> str:
    """Return whether the version in force names the profile, in words; an expired one may.

    >>> listed_as(Profile("user_id:u1", lists={"vip": [3]}), OnList("vip", 3, 5))
    'on version 3 until 1970-01-01T00:00:00.005Z'
    """
    if not node.version:
        return "no version is in force"
    until = "" if node.expires_ms is None else f" until {format_instant(node.expires_ms)}"
    named = node.version in profile.lists.get(node.key, ())
    return f"{'on' if named else 'not on'} version {node.version}{until}"


def bind(node: Node, lists: Mapping[str, ListInForce]) -> Node:
    """Return a rule that reads these versions of lists; of a list that is not among them, none.

    A rule that reads no lists is returned as the same object.

    >>> bind(Not(OnList("vip")), {"vip": ListInForce(3)})
    Not(of=OnList(key='vip', version=3, expires_ms=None))
    """
    match node:
        case OnList(key=key):
            found = lists.get(key)
            return OnList(key) if found is None else OnList(key, found.version, found.expires_ms)
        case Not(of=child):
            bound = bind(child, lists)
            return node if bound is child else Not(bound)
        case All(of=of) | Any(of=of) | AtLeast(of=of):
            below = tuple(bind(child, lists) for child in of)
            changed = any(new is not old for new, old in zip(below, of, strict=True))
            return msgspec.structs.replace(node, of=below) if changed else node
    return node


def lists_of(node: Node) -> set[str]:
    """Return the keys of the lists that a rule reads."""
    return {each.key for each in below(node) if isinstance(each, OnList)}


def versions_read(rules: Iterable[Node]) -> dict[str, int]:
    """Map the lists that some rules read to the version in force; 0: none is."""
    return {each.key: each.version for rule in rules for each in below(rule) if isinstance(each, OnList)}
