"""Every setting is read by production code: a static analysis of the package."""

from __future__ import annotations

import ast
from pathlib import Path

from segops import config
from segops.config.base import SettingsSection

PACKAGE = Path(config.__file__).parents[1]


def attributes_read() -> set[str]:
    """Return the names of all attributes that modules read."""
    found: set[str] = set()
    for file in PACKAGE.rglob("*.py"):
        tree = ast.parse(file.read_text())
        found |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return found


def test_every_setting_is_read() -> None:
    read = attributes_read()
    sections = {name: field.annotation for name, field in config.Settings.model_fields.items()}
    fields = {
        f"{name}.{field}"
        for name, section in sections.items()
        if isinstance(section, type) and issubclass(section, SettingsSection)
        for field in section.model_fields
    }
    assert len(fields) > 40
    assert {each for each in fields if each.partition(".")[2] not in read} == set()
