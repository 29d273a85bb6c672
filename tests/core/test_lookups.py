"""Look-ups: paths through tables, what they read, and rules that change with a table."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from segops.core.engine import Engine
from segops.core.errors import DefinitionError, SegopsError
from segops.core.events import Event
from segops.core.lookups import Column, digest_of, find, lookup_path, rows_of, shared
from segops.core.paths import getter, path_text, walker
from segops.core.rules.analysis import lint
from segops.core.rules.wording import feature_label, label
from segops.core.segments import Definition, SegmentSet, version_after
from segops.core.survey import Survey
from segops.core.views.explain import explain
from segops.schemas.lookups import Blocks
from segops.schemas.published_lookups import MissingColumn
from segops.schemas.segments import definition_from_record, definition_to_record, inline, load
from segops.testing import Customer, Flip, definition

from .helpers import MONDAY as T
from .helpers import H

PRODUCTS: dict[str, Any] = {"p1": {"collection": "Shoes", "price": 50}, "p2": {"collection": "Socks"}}
SHOES = {"did": "Buy", "where": {"products[product_id].collection": "Shoes"}}
CODES = {"75001": {"lat": 48.8627, "lon": 2.3362}, "01067": {"lat": 51.05, "lon": 13.74}}


def of_products(rows: Any = PRODUCTS, when: Any = SHOES) -> Definition:
    return definition("s", when, tables=Blocks({"products": {"rows": rows}}, {"rows": CODES}))


TABLES = Blocks({"products": {"rows": PRODUCTS}})


def refused(when: dict[str, Any], tables: Blocks = TABLES) -> list[str]:
    with pytest.raises(DefinitionError) as error:
        inline([{"key": "s", "when": when}], "f", "segments", tables=tables)
    return [f"{issue.path}: {issue.reason}" for issue in error.value.issues]


# -- paths -------------------------------------------------------------------------------------------------


def column(rows: dict[str, Any], name: str = "c") -> Column:
    return shared(Column("t", name, digest_of("t", name, rows), lambda: rows))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("p1", 5),
        (7, 6),
        (7.0, 6),
        ("7", 6),
        (True, 8),
        ("", None),
        (None, None),
        (["p1"], None),
        ("p2", None),
    ],
)
def test_key_is_compared_as_text(key: Any, expected: Any) -> None:
    found = column({"p1": 5, "7": 6, "true": 8, "p2": None})
    event = Event("A", 0, "m", {"k": key})
    assert getter(lookup_path(found, ("k",)))(event) == expected
    assert walker(lookup_path(found, ("k",)))(event) == expected


def test_path_through_lists_looks_every_value_up() -> None:
    found = column({"p1": 5, "p2": None})
    event = Event("A", 0, "m", {"l": [{"k": "p1"}, {"k": "p2"}, {"k": "p1"}, {}, 3]})
    assert walker(lookup_path(found, ("l", "k")))(event).values == [5, 5]


def test_notation_of_a_look_up_is_read_again() -> None:
    found = column({"p1": 5})
    path = lookup_path(found, lookup_path(found, ("", "context", "app", "id")))
    assert path_text(path) == "t[t[context.app.id].c].c"


def test_rows_are_found_while_a_definition_holds_them() -> None:
    held = of_products({"p1": {"collection": "kept nowhere else"}})
    (digest,) = (each.digest for each in held.columns)
    assert find(digest) is held.columns[0]
    del held
    gc.collect()
    assert find(digest) is None
    with pytest.raises(SegopsError, match="the column c of the look-up table t is not in memory"):
        rows_of(("", "lookup", "t", "c", digest, "k"))


# -- rules -------------------------------------------------------------------------------------------------


def test_only_the_columns_that_a_rule_reads_are_its_own() -> None:
    assert [(each.table, each.name) for each in of_products().columns] == [("products", "collection")]
    assert of_products(when={"did": "Buy"}).columns == ()


@pytest.mark.parametrize(
    ("rows", "changes"),
    [
        ({**PRODUCTS, "p3": {"collection": "Shoes"}}, True),
        ({**PRODUCTS, "p2": {"collection": "Shoes"}}, True),
        ({"p1": PRODUCTS["p1"]}, True),
        ({"p2": PRODUCTS["p2"], "p1": PRODUCTS["p1"]}, False),
        ({"p1": {"collection": "Shoes", "price": 60}, "p2": {"collection": "Socks", "x": 1}}, False),
    ],
)
def test_version_rises_with_the_columns_in_use_alone(rows: Any, changes: bool) -> None:
    assert version_after(of_products(), of_products(rows)) == 1 + changes


def test_state_of_a_former_table_is_another_feature() -> None:
    one, other = (SegmentSet([of_products(rows)]) for rows in (PRODUCTS, {"p9": {"collection": "Shoes"}}))
    assert one.features.keys().isdisjoint(other.features)


def test_context_of_the_key_is_kept_of_events() -> None:
    when = {"did": "A", "where": {"products[context.app.id].collection": "Shoes"}}
    assert SegmentSet([of_products(when=when)]).context_keys == {"app"}
    located = {"near": {"lat": 0, "lon": 0, "radius": "1km"}, "located_by": ["context", "location", "zip"]}
    assert SegmentSet([of_products(when=located)]).context_keys == {"location"}


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("shops[id].name", "unknown look-up table 'shops'; expected one of products; a property with"),
        ("products[id].colour", "unknown column 'colour' of products; expected one of collection, price"),
        ("products[id].collection.", "unknown column 'collection.' of products"),
        ("products[a..b].price", "expected a property path, such as cart.total, got 'a..b'"),
        ("products[shops[id].name].price", "unknown look-up table 'shops'"),
    ],
)
def test_wrong_look_up_is_refused_at_its_place(path: str, reason: str) -> None:
    (found,) = refused({"did": "A", "where": {path: 1}})
    assert found.startswith(f"segments[0].when.where.{path}: {reason}")
    (found,) = refused({"did": "A", "where": {"l": {"any": {path: 1}}}})
    assert reason in found


def test_file_without_tables_has_none() -> None:
    (found,) = refused(SHOES, Blocks())
    assert "expected one of (none: the file has no lookups)" in found
    (found,) = refused({"near": {"lat": 0, "lon": 0, "radius": "1km"}, "located_by": "zip"}, Blocks())
    assert found.startswith("segments[0].when.located_by: expected a block postal_codes in the file")


def test_property_with_brackets_is_written_as_a_list() -> None:
    customer = Customer(s={"sum": ["properties", "items[0]", "price"], "of": "A", "is": {"gte": 1}})
    assert customer.did("A", T, **{"items[0]": {"price": 1}}) == [Flip("entered", "s", T)]


def test_published_rule_of_an_earlier_version_keeps_its_property_with_brackets() -> None:
    when = {"did": "A", "where": {"items[0].price": 1}}
    record = {"key": "s", "version": 3, "name": "s", "description": "", "when": when}
    found = definition_from_record(msgspec.json.encode(record))
    assert found is not None and found.columns == ()
    (feature,) = SegmentSet([found]).features.values()
    assert feature.where[0][0] == ("items[0]", "price")


def test_mistake_in_a_table_is_reported_once(tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    blocks = {"lookups": {"products": {"rows": {}}}}
    file.write_text(json.dumps({"version": 1, **blocks, "segments": [{"key": "s", "when": SHOES}]}))
    with pytest.raises(DefinitionError) as error:
        load([file])
    assert [issue.path for issue in error.value.issues] == ["lookups.products.rows"]


@pytest.mark.parametrize(
    ("when", "identity", "features"),
    [
        ({"inside": "a", "within": "1h"}, "dc71b4ceea3f0081", []),
        ({"inside": "a", "anytime": True, "within": "1h"}, "2a3fc4a1546ee5e4", [3000120097626966147]),
        (
            {
                "near": {"lat": 1, "lon": 2, "radius": "5km"},
                "anytime": True,
                "between": {"from": "2h", "to": "1h"},
            },
            "7877e7682fa6c08a",
            [2061399581748352566],
        ),
        ({"did": "A", "where": {"l": {"any": {"a": 1}}}}, "087fa75c311835c0", [5783135597483800696]),
    ],
)
def test_rules_without_tables_keep_the_identities_of_the_earlier_version(
    when: dict[str, Any], identity: str, features: list[int]
) -> None:
    found = definition("rule", when, areas={"a": {"lat": 1, "lon": 2, "radius": "5km"}})
    assert found.identity.startswith(identity)
    assert list(SegmentSet([found]).features) == features


def test_condition_that_no_row_satisfies_is_a_note() -> None:
    def notes(*paths: tuple[str, Any]) -> list[str]:
        found = of_products(when={"did": "Buy", "where": dict(paths)})
        return [f"{path}: {reason}" for path, reason in lint(found.when, "when").notes]

    path = "products[product_id].collection"
    assert notes((path, "Shoess")) == [f"when.where.{path}: no row of products satisfies: = Shoess"]
    for fits in ("Shoes", {"exists": False}, {"in_last": "1d"}, {"as": "text", "starts_with": "So"}):
        assert notes((path, fits)) == []


# -- records -----------------------------------------------------------------------------------------------


def test_record_carries_digests_and_not_rows() -> None:
    found = of_products()
    record = definition_to_record(found)
    (held,) = found.columns
    assert msgspec.json.decode(record)["lookups"] == {"products": {"collection": held.digest}}
    assert b"Socks" not in record
    again = definition_from_record(record)
    assert again is not None and (again.identity, again.columns) == (found.identity, found.columns)


def test_indicator_may_look_up() -> None:
    (found,) = inline(
        [{"key": "s", "when": {"indicator": "spent", "is": {"gte": 50}}}],
        "f",
        "segments",
        indicators={"spent": {"sum": "products[product_id].price", "of": "Buy"}},
        tables=TABLES,
    )
    assert [each.name for each in found.columns] == ["price"]
    again = definition_from_record(definition_to_record(found))
    assert again is not None and (again.identity, again.columns) == (found.identity, found.columns)


def test_record_whose_column_is_not_in_memory_is_refused() -> None:
    record = definition_to_record(of_products({"p1": {"collection": "of no definition"}}))
    gc.collect()
    with pytest.raises(MissingColumn, match=r"lookups\.products\.collection: the column with the digest"):
        definition_from_record(record)


@pytest.mark.parametrize("odd", [[], "x", {"products": 5}, {"products": {"price": 5}}, {"products": None}])
def test_odd_record_is_refused(odd: Any) -> None:
    record = {**msgspec.json.decode(definition_to_record(of_products())), "lookups": odd}
    with pytest.raises(DefinitionError):
        definition_from_record(msgspec.json.encode(record))


# -- words and views ---------------------------------------------------------------------------------------


def test_label_names_table_key_and_column() -> None:
    found = of_products(when={**SHOES, "within": "1h"})
    assert label(found.when) == "did Buy where products[product_id].collection = Shoes within 1h"
    (feature,) = SegmentSet([found]).features.values()
    assert feature_label(feature) == "count of Buy where products[product_id].collection = Shoes within 1h"
    listed = {"did": "Buy", "where": {"l": {"any": {"products[id].price": {"gte": 5}}}}}
    assert label(of_products(when=listed).when) == (
        "did Buy where l has an element with products[id].price ≥ 5"
    )


def test_label_says_which_code_locates() -> None:
    near = {"near": {"lat": 0, "lon": 0, "radius": "1km"}, "within": "1h", "located_by": "address.zip"}
    found = of_products(when=near)
    assert label(found.when) == "at most 1,000 m from 0, 0 within 1h located by address.zip"
    (feature,) = SegmentSet([found]).features.values()
    assert "location or postal_codes[address.zip].point" in feature_label(feature)
    anytime = of_products(when={**near, "anytime": True})
    assert label(anytime.when).endswith("within 1h located by address.zip")


def test_explanation_shows_the_location_by_code() -> None:
    near = {"near": {"lat": 48.8566, "lon": 2.3522, "radius": "5km"}, "located_by": "zip"}
    engine = Engine(SegmentSet([of_products(when=near)]))
    profile = engine.new_profile("user_id:u1")
    engine.on_event(profile, Event("A", T, "m1", {"zip": 75001}), clock_ms=T)
    part = explain(engine.segments, profile, T + H).segments[0].rule
    assert (part.holds, part.value, part.threshold) == (True, 1353, "≤ 5000")


def test_survey_names_the_keys_that_a_table_lacks() -> None:
    listed = {"did": "Buy", "where": {"l": {"any": {"products[id].price": {"gte": 5}}}}}
    nested = {"sum": "products[products[k].next].price", "of": "Buy", "is": {"gte": 1}}
    rows = {"p1": {"price": 5, "next": "p9", "collection": "x"}, "p2": {"price": None, "next": "p1"}}
    survey = Survey([of_products(rows, when) for when in (SHOES, listed, nested)])
    for number, properties in enumerate(
        [
            {"product_id": "p1", "l": [{"id": "p7"}, {"id": "p7"}, {"id": 8}, {}], "k": "p1"},
            {"product_id": "p2", "l": [{"id": "p7"}], "k": "p2"},
            {"product_id": None},
        ]
    ):
        survey.observe(Event("Buy", T, f"m{number}", properties))
    assert list(survey.unknown_keys()) == [
        "l.id of Buy: 2 keys are not in the look-up table products: p7 (2), 8 (1)",
        "products[k].next of Buy: 1 key is not in the look-up table products: p9 (1)",
    ]
