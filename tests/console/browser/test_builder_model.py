"""Every rule that is drawn opens in the builder's form, which shows all of it and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser

from segops.core.rules.parsing import HEADS
from segops.schemas.written import read_yaml
from tests.console.browser.chromium import BuilderPage, chromium, console, in_memory, needs_chromium
from tests.console.drafting import Board
from tests.core.strategies import RFM, leaf_kinds, policies, rules
from tests.core.strategies_areas import PLACES
from tests.core.test_node_tables import FORMS, FROZEN, HYSTERESIS, VISITED
from tests.test_docs import examples

KEYS = ("vip", "buyers")
pytestmark = [
    pytest.mark.browser,
    needs_chromium,
    pytest.mark.filterwarnings("ignore:Generating overly large repr"),  # of the strategy of all leaves
]

#: Opens documents one after another, touches each control without a change, and names what none shows.
READ_BACK = """
const { parse, stringify, same, isMap, isNumber } = await module("exact.js");
const { pathText } = await module("tree.js");
function* leaves(value, path) {
  if (Array.isArray(value)) for (const [n, each] of value.entries()) yield* leaves(each, [...path, n]);
  else if (isMap(value)) for (const [key, each] of Object.entries(value)) yield* leaves(each, [...path, key]);
  else yield [path, value];
}
const found = [];
for (const text of value) {
  const document = parse(text);
  b.history.open(document);
  b.render();
  const controls = [...b.root.querySelectorAll("[data-control]")];
  const names = new Map(controls.map((each) => [each.getAttribute("data-control"), each]));
  const missing = [];
  for (const [path, leaf] of leaves(document.segments[0].when, ["segments", 0, "when"])) {
    const control = names.get(pathText(path));
    if (!control) { missing.push(pathText(path)); continue; }
    let shown = control.value;
    if (control.tagName === "SELECT") try { shown = JSON.parse(shown); } catch { /* a choice by its name */ }
    const unit = typeof leaf === "string" && /^[0-9.]+[a-z]+$/.test(leaf) && control.matches(".number");
    const expected = String(unit ? leaf.replace(/[a-z]+$/, "") : leaf);
    if (String(shown) !== expected) missing.push(`${pathText(path)}: ${shown} instead of ${expected}`);
  }
  for (const control of controls) {
    if (!control.matches("input, select")) continue;
    control.dispatchEvent(new Event("input", { bubbles: true }));
    control.dispatchEvent(new Event("change", { bubbles: true }));
  }
  const raw = [...b.root.querySelectorAll(".raw")].map((each) => each.textContent);
  const accepted = b.editing.schemas.accepts(b.editing.language.schema, document);
  if (!same(b.history.present, document) || missing.length || raw.length || !accepted) {
    found.push({ before: text, after: stringify(b.history.present), missing, raw, accepted });
  }
}
b.checks.cancel();
return found;
"""

#: Makes each document from nothing: at each map, every key must be one that the form offers to add.
MADE = """
const { parse, isMap, stringify } = await module("exact.js");
const { schemas } = b.editing;
const problems = [];
function check(schema, part, path) {
  if (!schema) { problems.push(`${path}: no form`); return; }
  const form = schemas.formOf(schema, part).schema;
  if (!schemas.accepts(schema, part)) problems.push(`${path}: refused`);
  if (Array.isArray(part)) part.forEach((each, n) => check(schemas.item(form, n), each, `${path}[${n}]`));
  if (!isMap(part)) return;
  for (const [key, each] of Object.entries(part)) {
    if (!form.properties) { check(form.additionalProperties, each, `${path}.${key}`); continue; }
    const without = Object.fromEntries(Object.entries(part).filter(([name]) => name !== key));
    const needed = (form.required ?? []).includes(key);
    const offered = needed || schemas.addable(form, without).includes(key);
    if (!offered) problems.push(`${path}: ${key} cannot be added`);
    check(form.properties[key], each, `${path}.${key}`);
  }
}
for (const text of value) check({ $ref: "#/$defs/node" }, parse(text).segments[0].when, text);
return problems;
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def opened(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> Iterator[BuilderPage]:
    board = Board()
    in_memory(monkeypatch, board)
    with console(board) as (address, _):
        page = browser.new_page()
        yield BuilderPage(page, address).open()
        page.close()


def documents(forms: list[Any]) -> list[str]:
    """Return segment files with rules, as JSON that Python writes: 20.0 is not 20."""
    blocks = {"version": 1, "rfm": RFM, "places": PLACES}
    return [json.dumps({**blocks, "segments": [{"key": "drawn", **each}]}) for each in forms]


def drawn(count: int) -> list[str]:
    """Return documents with drawn rules: some of each kind of leaf, and nested ones with a policy."""
    found: list[Any] = []
    of_each = st.one_of([st.tuples(*[kind] * 2) for kind in leaf_kinds(KEYS)])
    nested = st.tuples(rules(KEYS), policies()).map(lambda both: {"when": both[0], "membership": both[1]})

    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(of_each, nested)
    def draw(several: Any, one: Any) -> None:
        found.extend([{"when": each} for each in several] + [one])

    draw()
    return documents(found)


def written() -> list[str]:
    """Return the shortest form of each node, and all rules of the documentation."""
    forms = [{"when": each} for each in (*FORMS.values(), HYSTERESIS, VISITED, FROZEN)]
    for example in examples():
        read = read_yaml(str(example.values[0]))
        segments = read.get("segments", []) if "version" in read else [{"when": read}]
        forms += [{"when": each["when"]} for each in segments]
    return documents(forms)


def test_every_node_and_every_documented_rule_is_shown_whole(opened: BuilderPage) -> None:
    found = written()
    assert len(found) >= len(HEADS) + 30
    assert opened.run(READ_BACK, found) == []
    assert opened.run(MADE, found) == []
    assert opened.problems == []


def test_drawn_rules_are_shown_whole_and_come_back_unchanged(opened: BuilderPage) -> None:
    found = drawn(80)
    assert len(found) > 200
    assert opened.run(READ_BACK, found) == []
    assert opened.run(MADE, found) == []
    assert opened.problems == []


@pytest.mark.parametrize("number", ["20.0", "18446744073709551615", "0.1", "1e400", "-0.0", "1.50"])
def test_numbers_keep_every_digit(opened: BuilderPage, number: str) -> None:
    rule = f'{{"trait": "p", "is": {{"eq": {number}}}}}'
    text = f'{{"version": 1, "segments": [{{"key": "drawn", "when": {rule}}}]}}'
    assert opened.run(READ_BACK, [text]) == []
    assert f'"eq":{number}}}' in opened.document()


def test_what_no_form_shows_stays_in_the_document(opened: BuilderPage) -> None:
    odd = {"did": "A", "wihtin": {"x": [1, None]}, "where": {"p": None, "q": []}, "count": "many"}
    text = json.dumps({"version": 1, "segments": [{"key": "odd", "when": {"all": [odd, 7, {}, []]}}]})
    (found,) = opened.run(READ_BACK, [text])
    assert json.loads(found["after"]) == json.loads(text)
    assert opened.problems == []
