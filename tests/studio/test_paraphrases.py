"""What people say, in many words, becomes the rule that they mean, or no rule at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from segops.schemas.written import read_yaml
from tests.studio.helpers import CATALOGUES, meaning, said

CASES = [
    (catalogue, *case)
    for catalogue, cases in read_yaml((Path(__file__).parent / "paraphrases.yaml").read_text("utf-8")).items()
    for case in cases
]
_OUTCOMES = {"Q": "question", "R": "refuse"}


@pytest.mark.parametrize(("name", "text", "expected"), CASES, ids=[case[1][:60] for case in CASES])
def test_a_sentence_means(name: str, text: str, expected: Any) -> None:
    catalogue = CATALOGUES[name]
    found = said(text, catalogue)
    if isinstance(expected, str):
        assert found.outcome in [_OUTCOMES[letter] for letter in expected], found
        assert found.rule is None
        assert found.reason
    else:
        assert found.rule is not None, found
        assert meaning(found.rule, catalogue) == meaning(expected, catalogue), found.rule
        assert found.sentence
