"""The tool that proposes a rule from a sentence. It is there if the studio and a catalogue are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import Field

from segops.config import Settings
from segops.core.errors import UserError
from segops.mcp.tool import Answer, Form, Tool
from segops.schemas.issues import unreadable
from segops.schemas.written import read_yaml
from segops.wall_clock import wall_ms

log = logging.getLogger(__name__)

_STUDIO: Final = "segops.studio"
_MAX_SENTENCE: Final = 2_000


class _Sentence(Form):
    sentence: str = Field(min_length=1, max_length=_MAX_SENTENCE, description="Who is meant, in English.")


def sentence_tools(settings: Settings) -> Sequence[Tool]:
    """Return the tool that proposes rules; none, with a line in the log, if something of it is missing.

    Raises UserError for a catalogue that cannot be read.
    """
    path = settings.mcp.catalogue
    if find_spec(_STUDIO) is None:
        log.info("no tool proposes rules from sentences: this version has no studio")
        return ()
    if path is None:
        log.info("no tool proposes rules from sentences: SEGOPS_MCP_CATALOGUE is not set")
        return ()
    return (_tool(_proposing(path)),)


def _proposing(path: Path) -> Callable[[str, int], Any]:
    """Return what proposes: the one place that knows the studio."""
    propose = import_module(f"{_STUDIO}.propose").propose
    catalogue = import_module(f"{_STUDIO}.catalogue").StudioCatalogue
    known = catalogue.from_document(_document(path), str(path))
    return lambda sentence, now_ms: propose(sentence, known, now_ms)


def _document(path: Path) -> Any:
    try:
        return read_yaml(path.read_text("utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{unreadable(path, error)} (SEGOPS_MCP_CATALOGUE)") from error


async def _propose(propose: Callable[[str, int], Any], _settings: Settings, form: _Sentence) -> Answer:
    found: dict[str, Any] = propose(form.sentence, wall_ms()).document()
    return found


def _tool(propose: Callable[[str, int], Any]) -> Tool:
    return Tool(
        "propose_rule",
        "Propose a rule",
        "Turn an English sentence into a rule, or into a question where it is not clear. Check the rule with "
        "check_draft, and show it to a person.",
        _Sentence,
        partial(_propose, propose),
    )
