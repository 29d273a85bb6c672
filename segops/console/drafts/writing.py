"""Drafts as YAML, as a person would write it: short maps in one line, dates without quotes."""

from __future__ import annotations

from typing import Any, Final

import yaml

from segops.core.rules.parsing import HEADS

_WIDTH: Final = 100
_SHORT: Final = 64
#: Tags that segops reads as texts, so that such texts need no quotes.
_TEXTS: Final = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")

#: Line breaks that must be escaped: a reader would fold them.
_BREAKS: Final = ("\x85", "\u2028", "\u2029")


class _Dumper(yaml.SafeDumper):
    """Writes maps without nodes in one line if they are short, and indents lists."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


_Dumper.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag not in _TEXTS]
    for first, found in yaml.SafeDumper.yaml_implicit_resolvers.items()
}


def _represent_map(dumper: _Dumper, data: dict[Any, Any]) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", data.items(), flow_style=_is_short(data))


def _represent_list(dumper: _Dumper, data: list[Any]) -> yaml.Node:
    flat = not any(isinstance(each, (dict, list)) for each in data)
    flow = (flat and len(repr(data)) <= _SHORT) or not data
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flow)


def _represent_text(dumper: _Dumper, data: str) -> yaml.Node:
    style = '"' if any(each in data for each in _BREAKS) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)


def _is_short(data: dict[Any, Any]) -> bool:
    if not data:
        return True
    nested = any(isinstance(each, dict) for each in data.values())
    is_node = "key" in data or not HEADS.keys().isdisjoint(data)
    return not nested and not is_node and len(repr(data)) <= _SHORT and not _holds_maps(data)


def _holds_maps(data: dict[Any, Any]) -> bool:
    lists = (each for each in data.values() if isinstance(each, list))
    return any(isinstance(item, (dict, list)) for found in lists for item in found)


_Dumper.add_representer(dict, _represent_map)
_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)


def written(form: Any) -> str:
    """Return a document as YAML, which segops reads as the same document.

    >>> print(written({"did": "A", "count": {"gte": 3}, "since": "2026-01-31"}), end="")
    did: A
    count: {gte: 3}
    since: 2026-01-31
    """
    return yaml.dump(form, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
