"""The tool that proposes rules: there with a studio and a catalogue, and only then."""

from __future__ import annotations

import logging
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from segops.core.errors import UserError
from segops.mcp import sentences
from segops.mcp.toolbox import tools_of

from .helpers import Assistant, assist, settings_of

CATALOGUE = "version: 1\nevents: {Order Completed: {revenue: number}}\n"


@pytest.fixture
def _studio(monkeypatch: pytest.MonkeyPatch) -> None:
    """A studio that answers every sentence with what it was given."""

    def propose(text: str, catalogue: Any, now_ms: int) -> Any:
        assert now_ms > 1_700_000_000_000
        return SimpleNamespace(document=lambda: {"outcome": "question", "question": text, "of": catalogue})

    class StudioCatalogue:
        @classmethod
        def from_document(cls, document: Any, path: str) -> Any:
            return {**document, "path": Path(path).name}

    for name, content in (
        ("segops.studio", {}),
        ("segops.studio.propose", {"propose": propose}),
        ("segops.studio.catalogue", {"StudioCatalogue": StudioCatalogue}),
    ):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None, is_package=True)
        module.__path__ = []
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.usefixtures("_studio")
def test_a_sentence_becomes_what_the_studio_says(tmp_path: Path) -> None:
    file = tmp_path / "catalogue.yaml"
    file.write_text(CATALOGUE)

    async def steps(assistant: Assistant) -> None:
        found = await assistant.answer("propose_rule", sentence="big spenders")
        assert (found["outcome"], found["question"]) == ("question", "big spenders")
        events = {"Order Completed": {"revenue": "number"}}
        assert found["of"] == {"version": 1, "events": events, "path": "catalogue.yaml"}
        assert "sentence: " in await assistant.refusal("propose_rule", sentence="")
        assert "sentence: " in await assistant.refusal("propose_rule", sentence="x" * 2_001)

    assist(steps, settings_of(catalogue=file))


@pytest.mark.usefixtures("_studio")
def test_without_a_catalogue_there_is_no_such_tool(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert "propose_rule" not in tools_of(settings_of())
    assert "SEGOPS_MCP_CATALOGUE is not set" in caplog.text


def test_without_a_studio_there_is_no_such_tool(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(sentences, "find_spec", lambda _name: None)
    assert "propose_rule" not in tools_of(settings_of(catalogue=tmp_path / "catalogue.yaml"))
    assert "has no studio" in caplog.text


@pytest.mark.usefixtures("_studio")
@pytest.mark.parametrize("text", [None, "{a: ["])
def test_a_catalogue_that_cannot_be_read_is_named(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "catalogue.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=r"catalogue.yaml: .*\(SEGOPS_MCP_CATALOGUE\)"):
        tools_of(settings_of(catalogue=file))
