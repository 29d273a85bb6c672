"""Drafts: what they are read as, where their mistakes are, and what publishing them does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.console.drafts import checking, estimating
from segops.console.drafts.language import HEADS_SHOWN, OPERATORS_SHOWN, language_text, new_form
from segops.console.drafts.reading import Document, located, read_document
from segops.console.drafts.writing import written
from segops.core.errors import DefinitionError, UserError
from segops.core.operators import OPERATORS
from segops.core.rules import model
from segops.core.rules.model import below
from segops.core.rules.parsing import HEADS
from segops.core.rules.sentences import sentence
from segops.core.rules.wording import label
from segops.core.segments import Definition
from segops.schemas.scan_views import view_estimate
from segops.schemas.segments import definition_to_record, inline
from segops.schemas.written import read_yaml
from segops.testing import definition
from tests.console.drafting import answer, published
from tests.core.strategies import RFM, policies, rules
from tests.core.strategies_areas import PLACES
from tests.core.strategies_lookups import BLOCKS
from tests.core.strategies_scores import score_models
from tests.rest import examples

BOARD = published()


def check(text: str, key: str = "", known: dict[str, Definition] | None = None) -> dict[str, Any]:
    return checking.check_form(text, BOARD if known is None else known, json=False, key=key)


def mistaken(found: dict[str, Any]) -> list[list[Any]]:
    return [each["at"] for each in found["errors"]]


# -- reading -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("did: A", {"version": 1, "segments": [{"key": "k", "when": {"did": "A"}}]}),
        ("{when: {did: A}, key: x}", {"version": 1, "segments": [{"when": {"did": "A"}, "key": "x"}]}),
        (
            "key: x\nplaces: {p: {lat: 1, lon: 2}}\nwhen: {inside: p}",
            {
                "version": 1,
                "places": {"p": {"lat": 1, "lon": 2}},
                "segments": [{"key": "x", "when": {"inside": "p"}}],
            },
        ),
        ("version: 1\nsegments: [{key: x, when: {did: A}}]", None),
    ],
)
def test_a_file_a_segment_and_a_rule_are_documents(text: str, form: dict[str, Any] | None) -> None:
    found = read_document(text, json=False, key="k")
    assert found.form == (read_yaml(text) if form is None else form)


def test_the_segment_with_the_key_is_the_one_that_is_edited() -> None:
    text = "version: 1\nsegments: [{key: a, when: {did: A}}, {key: b, when: {did: B}}]"
    assert [read_document(text, json=False, key=key).key for key in ("b", "a", "other")] == ["b", "a", "a"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "got nothing"),
        ("[1]", "got [1]"),
        ("dit: A", "got a map of dit"),
        ("a: [", "line 2, column 1"),
        ("{a: 1, a: 2}", "duplicate key 'a'"),
        ("segments: []", "expected a non-empty list"),
        ("[" * 300, "nested more than 200 levels deep"),
    ],
)
def test_other_texts_are_refused(text: str, reason: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        read_document(text, json=False)
    assert reason in refused.value.issues[0].reason
    assert check(text)["definition"] is None


@given(
    st.recursive(
        st.text(max_size=8) | st.integers() | st.booleans() | st.none(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    )
)
@examples(60, of=600)
def test_what_is_written_is_read_as_the_same(form: Any) -> None:
    if isinstance(form, int) and not isinstance(form, bool) and abs(form) >= 1 << 63:
        return
    try:
        text = written(form)
        read = read_yaml(text)
    except Exception as error:  # characters and integers that no segment file may have
        assert any(word in str(error) for word in ("64 bits", "surrogate", "special characters", "octal"))
        return
    assert read == form


@given(rules(), policies())
@examples(40, of=400)
def test_drawn_rules_are_read_as_they_were_written(rule: dict[str, Any], policy: dict[str, Any]) -> None:
    form = {"version": 1, "segments": [{"key": "s", "when": rule, "membership": policy}]}
    assert read_document(written(form), json=False).form == form
    assert read_document(json.dumps(form), json=True).form == form


# -- mistakes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "at"),
    [
        ({"did": "A", "within": "0d"}, ["within"]),
        ({"all": [{"did": "A"}, {"trait": "x", "is": {"zz": 1}}]}, ["all", 1, "is", "zz"]),
        ({"did": "A", "where": {"a.b": {"lt": True}}}, ["where", "a.b", "lt"]),
        ({"did": "A", "where": {"a": {"lt": 1}, "a.b": {"lt": True}}}, ["where", "a.b", "lt"]),
        ({"did": "A", "where": {"a[0]": {"lt": True}}}, ["where", "a[0]", "lt"]),
        ({"sequence": [{"did": "A"}, {"did_not": "B"}]}, ["sequence", 1]),
        ({"did": "A", "whithin": "1d"}, ["whithin"]),
        ({"not": {"any": [{"did": ""}]}}, ["not", "any", 0, "did"]),
        ({"compare": [{"did": "A"}, "foo", 3]}, ["compare", 1]),
        ({"in_segment": "nowhere"}, []),
        ({"in_segment": "draft"}, []),
        ({}, []),
    ],
)
def test_mistakes_name_their_place_in_the_document(rule: dict[str, Any], at: list[Any]) -> None:
    text = json.dumps({"key": "draft", "when": rule})
    assert mistaken(check(text)) == [["segments", 0, "when", *at]]


def test_mistakes_beside_the_rule_and_in_other_segments_are_found_too() -> None:
    text = """
version: 1
places: {p: {lat: 91, lon: 0}}
segments:
  - {key: Draft!, when: {did: A}, membership: {min_stay: 0d}}
  - {key: other, when: {did: B, within: 0d}}
"""
    found = check(text, "Draft!")
    assert ["places", "p", "lat"] in mistaken(found) and ["segments", 0, "key"] in mistaken(found)
    assert ["segments", 1, "when", "within"] in mistaken(found)
    assert (found["sentence"], found["hash"], found["cost"]) == (None, None, None)


def test_a_place_that_the_document_lacks_is_the_nearest_one_above() -> None:
    assert located("segments[0].when.is", {"segments": [{"when": {"did": "A"}}]})[-1] == "is"
    assert located("segments[7].when", {"segments": [{"when": {}}]}) == ("segments",)
    assert located("", None) == ()


def test_a_draft_may_name_no_file_of_the_server() -> None:
    text = "lookups: {p: {file: /etc/passwd, key: id}}\nkey: s\nwhen: {did: A}"
    (mistake,) = check(text)["errors"]
    assert mistake["at"] == ["lookups", "p", "file"]
    assert "only a segment file on disk may name a file" in mistake["message"]


def test_a_sound_draft_has_a_sentence_a_cost_and_the_hash_of_its_meaning() -> None:
    one = check("key: s\nwhen: {all: [{did: A, within: 48h}, {in_segment: vip}]}")
    other = check("key: s\nname: Else\nwhen: {all: [{in_segment: vip}, {did: A, within: 2d}]}")
    assert one["sentence"] == "Customers who did A within 2d and in segment vip."
    assert one["errors"] == [] and one["cost"]["leaves"] == 2 and one["cost"]["state_bytes"] > 0
    assert one["hash"] == other["hash"] != check("key: s\nwhen: {did: A}")["hash"]


def test_warnings_do_not_refuse_a_draft() -> None:
    found = check("key: s\nwhen: {any: [{did: A}, {did: A}]}")
    assert found["errors"] == [] and found["warnings"][0]["at"][:3] == ["segments", 0, "when"]


def test_a_draft_reads_the_look_up_tables_of_published_segments() -> None:
    rule = {"did": "View", "where": {"words[o.id].kind": {"exists": True}}}
    (live,) = inline([{"key": "live", "when": rule}], "f", "segments", tables=BLOCKS)
    text = json.dumps({"key": "draft", "when": {"all": [rule, {"did": "B"}]}})
    assert check(text, known={"live": live})["errors"] == []
    assert len(check(text, known={})["errors"]) == 1


# -- words -------------------------------------------------------------------------------------------------


def test_every_head_and_operator_is_offered_in_words() -> None:
    assert set(HEADS_SHOWN) == set(HEADS)
    assert set(OPERATORS) <= set(OPERATORS_SHOWN)
    heads = [each["head"] for each in json.loads(language_text())["heads"]]
    assert heads == list(HEADS_SHOWN)


@pytest.mark.parametrize("head", HEADS_SHOWN)
def test_a_new_node_is_valid_once_its_names_are_filled_in(head: str) -> None:
    def filled(form: Any) -> Any:
        if isinstance(form, dict):
            return {key: filled(each) for key, each in form.items()}
        if isinstance(form, list):
            return [filled(each) for each in form]
        return form or "stores" if form == "" else form

    rule = filled(HEADS_SHOWN[head].starter)
    rule = {**rule, head: "vip"} if head in ("in_segment", "list", "indicator") else rule
    blocks = {
        "places": {"stores": {"lat": 1, "lon": 2, "radius": "1km"}},
        "indicators": {"vip": {"did": "A"}},
    }
    text = json.dumps({"version": 1, **blocks, "segments": [{"key": "s", "when": rule}]})
    assert check(text)["errors"] == []


def test_a_new_segment_lacks_nothing_but_the_name_of_an_event() -> None:
    assert mistaken(check(json.dumps(new_form()))) == [["segments", 0, "when", "all", 0, "did"]]


@given(rules(("vip",)))
@examples(30, of=300)
def test_the_sentence_of_a_rule_holds_the_label_of_each_leaf(rule: dict[str, Any]) -> None:
    node = _read(rule).when
    text = sentence(node)
    assert text.startswith("Customers w") and text.endswith(".")
    groups = (model.All, model.Any, model.Not, model.AtLeast)
    leaves = [each for each in below(node) if not isinstance(each, groups)]
    sides = {
        id(side) for each in leaves if isinstance(each, model.Hysteresis) for side in model.children(each)
    }
    for leaf in leaves:
        assert id(leaf) in sides or label(leaf) in text


def _read(rule: dict[str, Any], *, within: dict[str, Any] | None = None) -> Definition:
    models = score_models(rule if within is None else within)
    return definition("s", rule, areas=PLACES, tables=BLOCKS, rfm=RFM, models=models)


# -- estimates ---------------------------------------------------------------------------------------------


@given(rules(("vip",)))
@examples(30, of=300)
def test_each_node_is_found_where_it_is_written(rule: dict[str, Any]) -> None:
    of = _read(rule)
    found = list(estimating.paths_of(of.when, of.written))
    nodes = list(below(of.when))
    assert len(found) == len(nodes)
    for node, (_, *path) in zip(nodes, found, strict=True):
        written_node: Any = rule
        for step in path:
            written_node = written_node[step]
        read = _read(written_node, within=rule).when
        assert node == read or node in model.children(read)


RULE = """
key: draft
when: {all: [{in_segment: vip}, {trait: country, is: {in: [DE, FR]}}, {did: Order, count: {lt: 4}}]}
"""


def estimated(*, personal: bool, share: float = 1.0, text: str = RULE) -> dict[str, Any]:
    found = checking.check(text, BOARD, json=False)
    assert found.definition is not None
    view = view_estimate(answer(estimating.question(found, BOARD, share), BOARD))
    return estimating.estimate_form(view, found.definition, personal=personal)


def test_a_leaf_that_is_written_with_its_negation_is_found_with_it() -> None:
    of = _read({"all": [{"identified": False}, {"in_segment": "vip"}]})
    found = [path for path in estimating.paths_of(of.when, of.written)]
    assert found == [("when",), *[("when", "all", 0)] * 2, ("when", "all", 1)]


def test_an_estimate_counts_each_node_at_its_place() -> None:
    found = estimated(personal=True)
    assert [each["at"] for each in found["nodes"]] == [
        ["when"],
        *(["when", "all", number] for number in range(3)),
    ]
    assert found["members"]["estimate"] == found["nodes"][0]["holds"] > 0
    assert found["nodes"][1]["holds"] >= found["nodes"][1]["passes"] >= found["nodes"][0]["passes"]
    assert 0 < len(found["just_in"]) <= estimating.NEAR and 0 < len(found["just_out"]) <= estimating.NEAR
    assert {each["flips"] for each in found["just_in"]} == {1}
    assert "user_id:u" in found["just_in"][0]["profile_id"]


def test_a_node_with_two_sides_is_counted_once() -> None:
    text = "key: draft\nwhen: {score: recency_days, enter: {lt: 1}, exit: {gte: 5}}"
    found = estimated(personal=True, text=text)
    assert [each["at"] for each in found["nodes"]] == [["when"]]
    assert found["nodes"][0]["holds"] == found["members"]["estimate"] == 40


def test_viewers_see_neither_who_nor_what_the_profiles_have() -> None:
    seen, masked = json.dumps(estimated(personal=True)), json.dumps(estimated(personal=False))
    assert "user_id:u" in seen and '"DE"' in seen
    for personal in ("user_id:", '"DE"', '"FR"', "shop.example"):
        assert personal not in masked
    assert "Profile 1" in masked


def test_a_sample_has_bounds_and_values_have_places() -> None:
    text = "key: draft\nwhen: {any: [{did: Order}, {score: recency_days, is: {gte: 1}}]}"
    found = estimated(personal=True, share=0.5, text=text)
    assert found["sample"] == 0.5
    assert found["members"]["low"] <= found["members"]["estimate"] <= found["members"]["high"]
    (values,) = found["values"]
    assert values["at"] == ["when", "any", 1] and len(values["values"]) == found["evaluated"]


def test_a_draft_with_mistakes_has_no_size() -> None:
    with pytest.raises(UserError, match="mend them first"):
        estimating.question(checking.check("did: ''", BOARD, json=False), BOARD, 1.0)


def test_other_segments_of_the_file_are_asked_about_only_where_they_are_read() -> None:
    text = """
version: 1
segments:
  - {key: draft, when: {in_segment: helper}}
  - {key: helper, when: {did: Order}}
  - {key: unused, when: {did: Order}}
"""
    asked = estimating.question(checking.check(text, BOARD, json=False, key="draft"), BOARD, 1.0)
    assert sorted(each.key for each in asked.drafts()) == ["draft", "helper"]


def test_a_document_without_a_key_has_none() -> None:
    assert Document({"segments": [7]}, 0).key == Document({"segments": [{"key": 7}]}, 0).key == ""
    assert definition_to_record(BOARD["vip"])
