"""Published segments as drafts, and drafts as publications."""

from __future__ import annotations

import msgspec
import pytest

from segops.console.drafts import checking, publishing
from segops.console.drafts.writing import written
from segops.core.errors import DefinitionError
from segops.schemas.segments import definition_from_record, inline
from tests.console.drafting import Board, published

BOARD = published()


# -- published segments as drafts --------------------------------------------------------------------------


def test_an_opened_segment_means_what_is_published() -> None:
    for each in BOARD.values():
        form = publishing.document_of(each, BOARD)
        found = checking.check(written(form), BOARD, json=False, key=each.key)
        assert found.definition is not None
        assert (found.definition.identity, found.definition.name) == (each.identity, each.name)
        assert publishing.decide(publishing.Edit(found, checking.fingerprint(each)), Board().log())[
            0
        ].action == ("unchanged")


def test_an_opened_segment_has_no_key_that_only_records_have() -> None:
    form = publishing.document_of(BOARD["german"], BOARD)
    assert form == {
        "version": 1,
        "segments": [{"key": "german", "when": {"trait": "country", "is": {"eq": "DE"}}}],
    }


def test_a_published_indicator_opens_as_it_is_published() -> None:
    text = """
version: 1
indicators: {aov: {avg: total, of: Order, change_by: 5}, seen: {did: View, publish: false}}
segments:
  - {key: s, when: {all: [{indicator: aov, is: {gte: 50}}, {indicator: seen, is: {gte: 1}}]}}
"""
    found = checking.check(text, {}, json=False)
    assert found.definition is not None
    known = {each.key: each for each in (found.definition, *found.beside)}
    assert set(known) == {"s", "indicator:aov"}
    opened = publishing.document_of(found.definition, known)["indicators"]
    assert opened == {
        "aov": {"avg": "total", "of": "Order", "change_by": 5},
        "seen": {"did": "View", "publish": False},
    }


def test_an_upload_of_a_list_is_no_edit_of_the_segments_that_read_it() -> None:
    (one,) = inline([{"key": "s", "when": {"list": "spring"}}], "f", "segments")
    bound = msgspec.structs.replace(one, lists={"spring": {"version": 2}})
    assert checking.fingerprint(one) == checking.fingerprint(bound) != ""
    renamed = msgspec.structs.replace(one, name="Other")
    assert checking.fingerprint(one) != checking.fingerprint(renamed)
    assert checking.fingerprint(None) == ""


# -- publication -------------------------------------------------------------------------------------------


def edit(text: str, seen: str, board: Board) -> publishing.Edit:
    return publishing.Edit(checking.check(text, board.definitions, json=False), seen)


def test_a_new_segment_and_its_indicators_are_published_together() -> None:
    board = Board()
    text = "indicators: {n: {did: Order}}\nkey: new\nwhen: {indicator: n, is: {gte: 1}}"
    changes = publishing.decide(edit(text, "", board), board.log())
    assert [(each.key, each.action, each.version) for each in changes] == [
        ("new", "added", 1),
        ("indicator:n", "added", 1),
    ]


def test_an_edit_of_what_the_person_saw_raises_the_version() -> None:
    board = Board()
    seen = checking.fingerprint(board.definitions["german"])
    (change,) = publishing.decide(edit("key: german\nwhen: {did: A}", seen, board), board.log())
    assert (change.action, change.version) == ("changed", 2)


@pytest.mark.parametrize("meanwhile", ["{did: B}", "{trait: country, is: {eq: DE}}\nname: Germans"])
def test_an_edit_of_another_version_is_refused_with_both_sides(meanwhile: str) -> None:
    board = Board()
    seen = checking.fingerprint(board.definitions["german"])
    (theirs,) = publishing.decide(edit(f"key: german\nwhen: {meanwhile}", seen, board), board.log())
    assert theirs.record is not None
    decoded = definition_from_record(theirs.record)
    assert decoded is not None
    board.definitions["german"] = decoded
    with pytest.raises(publishing.Stale, match="another person published 'german' meanwhile") as refused:
        publishing.decide(edit("key: german\nwhen: {did: A}", seen, board), board.log())
    draft = written({"version": 1, "segments": [{"key": "german", "when": {"did": "A"}}]})
    form = publishing.stale_form(refused.value, draft, board.definitions)
    kinds = [each["kind"] for each in form["difference"]]
    assert "removed" in kinds and "added" in kinds and form["version"] == decoded.version
    assert form["seen"] == checking.fingerprint(decoded)
    retried = publishing.decide(edit("key: german\nwhen: {did: A}", form["seen"], board), board.log())
    assert retried[0].action == "changed"


def test_an_edit_of_a_retired_segment_and_a_key_that_another_person_took_are_refused() -> None:
    board = Board()
    seen = checking.fingerprint(board.definitions["german"])
    with pytest.raises(publishing.Stale, match="is now at version 1"):
        publishing.decide(edit("key: german\nwhen: {did: A}", "", board), board.log())
    del board.definitions["german"]
    log = board.log()
    log.retired["german"] = 1
    with pytest.raises(publishing.Stale, match="was retired") as refused:
        publishing.decide(edit("key: german\nwhen: {did: A}", seen, board), log)
    assert publishing.stale_form(refused.value, "draft", {})["published"] is None
    with pytest.raises(DefinitionError, match="a retired key cannot be reused"):
        publishing.decide(edit("key: german\nwhen: {did: A}", "", board), log)


def test_a_draft_with_mistakes_is_not_published() -> None:
    with pytest.raises(DefinitionError, match="expected a duration above 0"):
        publishing.decide(edit("key: new\nwhen: {did: A, within: 0d}", "", Board()), Board().log())
