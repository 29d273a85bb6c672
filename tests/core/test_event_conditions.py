"""What a condition on an event can say: names, paths, lists, conversions, the time of day."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from segops.core.conversions import Converted
from segops.core.engine import Engine
from segops.core.errors import DefinitionError
from segops.core.events import Event
from segops.core.features import Feature, reducer_of
from segops.core.merge import merge
from segops.core.operators import Predicate
from segops.core.paths import event_path, path_text
from segops.core.rules import model
from segops.core.rules.analysis.linter import lint
from segops.core.rules.parsing import Context, read_rule
from segops.core.rules.wording import label
from segops.core.segments import Definition, SegmentSet
from segops.core.skips import Skip
from segops.core.survey import Survey
from segops.core.windows import ALWAYS, Within
from segops.schemas.events import decode
from segops.schemas.segments import definition_from_record, definition_to_record, inline
from segops.testing import Customer

from .helpers import H, issues_of

#: Identities and ids of features as they were before there was ``convert``.
IDENTITIES = {
    "sum": "1a6301c76c964d79716c2f64d70bf1bb5faccbe51cf92e1f2084a9911f31a109",
    "did": "395f7db78e63e3198fdb5b0bf2019cfec296ce2c525356d5e352163c9ab8a537",
}


def rule(form: dict[str, Any]) -> model.Node:
    return read_rule(form, "when", Context("f"))


def definition(form: dict[str, Any]) -> Definition:
    return Definition("s", "s", rule(form), written=form)


# -- names ---------------------------------------------------------------------------------------------


def test_star_is_refused_where_rules_are_written() -> None:
    for form in ({"did": "*"}, {"did": ["A", "*"]}, {"first": "*", "is": {"older_than": "1d"}}):
        (issue,) = issues_of(form)
        assert "expected any_event, which stands for every event, got '*'" in issue
    (issue,) = issues_of({"sequence": [{"did": "A"}, {"did": "*"}]})
    assert issue.startswith("f: when.sequence[1].did: expected any_event")


def test_any_event_stands_alone() -> None:
    (issue,) = issues_of({"did": ["any_event", "A"]})
    assert "expected any_event alone, not in a list of names" in issue


@pytest.mark.parametrize("names", ["*", ["A", "*"]])
def test_published_definition_with_a_star_still_opens(names: Any) -> None:
    written = {"did": names}
    value = definition_to_record(Definition("s", "s", model.KnownFor(0), written=written, version=3))

    found = definition_from_record(value)

    assert found is not None and isinstance(found.when, model.Did)
    assert list(found.when.select.names) == sorted(names)  # as before: its state is kept under them
    customer = Customer()
    customer.engine = Engine(SegmentSet([found]))
    customer.send("B", 100)
    assert customer.member_of == {"s"}


def test_rules_without_the_new_words_keep_their_identities() -> None:
    form = {"sum": "total", "of": ["A", "B"], "where": {"p.q": {"gte": 1}}, "is": {"gte": 5}, "within": "1h"}
    total = rule(form)
    assert model.identity(total) == IDENTITIES["sum"]
    assert model.identity(rule({"did": "A", "where": {"p": 1}, "count": {"gte": 3}})) == IDENTITIES["did"]
    assert Feature("sum", ("A",), (), Within(H), ("total",)).id == 1094380139832401571
    where = ((("p",), Predicate((("eq", 1),))),)
    assert Feature("distinct", ("A",), where, ALWAYS, ("a", "b"), 4).id == 7833051520935041383


def test_a_conversion_is_part_of_the_identity() -> None:
    form = {"sum": "total", "of": "A", "is": {"gte": 5}}
    features = [SegmentSet([definition(each)]).features.keys() for each in (form, {**form, "as": "number"})]
    assert features[0] != features[1]
    assert model.identity(rule(form)) != model.identity(rule({**form, "as": "number"}))


# -- paths ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("a.b", ("a", "b")),
        (r"a\.b.c", ("a.b", "c")),
        (r"a\\.b", ("a\\", "b")),
        (r"a\b", ("a\\b",)),
        ("context.os.name", ("", "context", "os", "name")),
        ("context", ("context",)),
        (r"\context.os", ("context", "os")),
        (["properties", "context", "a.b"], ("context", "a.b")),
        (["context", "a.b"], ("", "context", "a.b")),
    ],
)
def test_path_is_read_as_written(written: Any, path: tuple[str, ...]) -> None:
    node = rule({"latest": written, "of": "A", "is": {"eq": 1}})
    assert isinstance(node, model.Aggregate)
    assert node.path == path
    assert event_path(path_text(path)) == path


@pytest.mark.parametrize(
    "written", ["", "a..b", ".a", "context.", 5, [], ["properties"], ["traits", "a"], ["context", ""]]
)
def test_invalid_path_is_refused(written: Any) -> None:
    (issue,) = issues_of({"latest": written, "of": "A", "is": {"eq": 1}})
    assert issue.startswith("f: when.latest: expected a ")


def test_path_of_a_trait_has_no_context() -> None:
    assert rule({"trait": "context.os", "is": {"eq": 1}}).path == ("context", "os")  # type: ignore[union-attr]
    assert rule({"trait": ["traits", "a.b"], "is": {"eq": 1}}).path == ("a.b",)  # type: ignore[union-attr]
    assert issues_of({"trait": ["properties", "a"], "is": {"eq": 1}})


def test_unknown_part_of_the_context_is_a_warning() -> None:
    context = Context("f")
    read_rule({"did": "A", "where": {"context.utm.source": "x", "context.os.name": "iOS"}}, "when", context)
    assert [warning.reason for warning in context.warnings] == [
        "context.utm is in no specification of context; is utm a property?"
    ]


def test_what_tracking_plans_omit_cannot_be_read() -> None:
    (issue,) = issues_of({"did": "A", "where": {"context.protocols.omitted.card": 1}})
    assert "context.protocols holds what a tracking plan omits" in issue


def test_event_keeps_the_parts_of_its_context_that_rules_read() -> None:
    record = {"type": "page", "userId": "u", "context": {"os": {"name": "iOS"}, "app": {"version": "2"}}}
    value = msgspec.json.encode(record)
    kept = [
        decode(value, time_ms=0, default_id="m", context_keys=keys).context
        for keys in ((), {"os", "ip"}, None)
    ]
    assert kept == [None, {"os": {"name": "iOS"}}, record["context"]]


@pytest.mark.parametrize("context", [None, [], "x"])
def test_odd_context_is_empty(context: Any) -> None:
    value = msgspec.json.encode({"type": "page", "userId": "u", "context": context})
    assert decode(value, time_ms=0, default_id="m", context_keys={"os"}).context is None


def test_set_of_segments_knows_what_it_reads_of_the_context() -> None:
    read = [
        {"did": "A", "where": {"context.os.name": "iOS", r"\context.ip": 1}},
        {"latest": ["context", "app", "version"], "of": "A", "is": {"eq": "1"}},
        {
            "sequence": [
                {"did": "A", "where": {"context.page.url": "x"}},
                {"did": "B", "where": {"context.ip": {"same_as": 1}}},
            ]
        },
    ]
    found = SegmentSet([Definition(f"s{i}", "", rule(form)) for i, form in enumerate(read)])
    assert found.context_keys == {"os", "app", "page", "ip"}


# -- lists ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ({"any": {}}, "expected a non-empty map of paths to predicates"),
        ({"any": [1]}, "expected a non-empty map of paths to predicates"),
        ({"all": {"a": {"in_last": "1d"}}}, "use fixed dates (before, after)"),
        ({"count": 2}, "expected a predicate of a number"),
        ({"count": {"where": {"a": 1}}}, "expected a predicate of a number"),
        ({"count": {"gte": 0.5}}, "expected an integer"),
        ({"count": {"lt": 0}}, "never holds"),
        ({"count": {"contains": "x"}}, "unknown operator; expected where, or one of eq"),
        ({"any": {"a": 1}, "gte": 5}, "never holds: no value satisfies"),
    ],
)
def test_invalid_test_of_elements_is_refused(test: dict[str, Any], reason: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        inline([{"key": "s", "when": {"did": "A", "where": {"l": test}}}], "f", "segments")
    (issue,) = refused.value.issues
    assert issue.path.startswith("segments[0].when.where.l") and reason in issue.reason


@pytest.mark.parametrize("window", [{}, {"within": "1h"}, {"between": {"from": "2h", "to": "0h"}}])
def test_message_that_two_merged_profiles_saw_adds_its_list_once(window: dict[str, Any]) -> None:
    form = {"sum": "l.p", "of": "A", "is": {"gte": 7}, **window}
    mine, theirs = (Customer(total=form) for _ in range(2))
    ((key, feature),) = mine.engine.segments.features.items()
    for number, customer in enumerate((mine, theirs)):
        customer.profile.id = "anonymous_id:a"
        customer.send("A", 100, message_id="m1", l=[{"p": 3}, {"p": 4}])
        customer.send("A", 100, message_id=f"m{number + 2}", l=[{"p": 1}, {"p": 2}])

    merge(mine.profile, theirs.profile, {key: feature}, 200)

    assert reducer_of(feature).read(mine.profile.features[key], 200) == (6, Decimal(13))


# -- conversions ---------------------------------------------------------------------------------------


def test_unknown_conversion_is_refused() -> None:
    (issue,) = issues_of({"trait": "p", "is": {"as": "money", "gte": 1}})
    assert issue == "f: when.is.as: expected one of number, epoch_s, epoch_ms, date, text, got 'money'"
    assert issues_of({"sum": "p", "of": "A", "is": {"gte": 1}, "as": "cents"})
    assert issues_of({"trait": "p", "is": {"as": "number"}}) == ["f: when.is: expected at least one operator"]


def test_converted_predicate_that_never_holds_is_refused() -> None:
    for test in (
        {"as": "number", "gt": 5, "lt": 3},
        {"as": "text", "gte": 5},
        {"as": "number", "contains": "x"},
    ):
        assert lint(rule({"trait": "p", "is": test}), "when").never, test
    assert not lint(rule({"trait": "p", "is": {"as": "number", "gt": 5}}), "when").never


def test_plain_predicate_reads_a_converted_value() -> None:
    test = Converted((("gte", 5),), "number")
    assert test.plain.holds(test.converted("7"), 0) and not test.holds("x", 0)


def test_value_that_cannot_be_converted_is_skipped_and_counted() -> None:
    customer = Customer(total={"sum": "p", "as": "number", "of": "A", "is": {"gte": 1}})
    skipped = customer.send("A", 100, p="x").skipped
    assert list(skipped) == [Skip("A", "p", "text")]
    assert not customer.send("A", 101, p="7").skipped


def test_elements_that_a_sum_cannot_read_are_counted() -> None:
    customer = Customer(total={"sum": "l.p", "of": "A", "is": {"gte": 1}})
    assert list(customer.send("A", 100, l=[{"p": "x"}, {}]).skipped) == [Skip("A", "l.p", "text")]
    assert not customer.send("A", 101, l=[{"p": "x"}, {"p": 1}]).skipped


def test_money_is_checked_and_other_currencies_are_counted() -> None:
    (issue,) = issues_of({"sum": "p", "of": "A", "is": {"gte": 1}, "money": {"currency": "euro"}})
    assert issue.startswith("f: when.money.currency: expected a currency code of three capitals")
    assert issues_of({"sum": "p", "of": "A", "is": {"gte": 1}, "money": "EUR"})
    assert issues_of({"latest": "p", "of": "A", "is": {"gte": 1}, "money": {"currency": "EUR"}})

    money = {"currency": "EUR", "path": "context.page.currency"}
    customer = Customer(total={"sum": "p", "of": "A", "is": {"gte": 5}, "money": money})
    context = {"page": {"currency": "USD"}}
    assert list(customer.send("A", 100, p=7, context=context).skipped) == [
        Skip("A", "context.page.currency", "other_currency")
    ]
    assert not customer.send("A", 101, context=context).skipped
    assert customer.engine.segments.context_keys == {"page"}
    customer.send("A", 102, p=5)
    assert customer.member_of == {"total"}


# -- the time of day -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({}, "expected a map with any of days, from, to, zone"),
        ({"zone": "UTC"}, "expected days, or from and to"),
        ({"from": "18:00"}, "expected from and to together"),
        ({"days": []}, "expected a non-empty list of days"),
        ({"days": ["Saturday"]}, "expected one of mon, tue, wed, thu, fri, sat, sun, got 'Saturday'"),
        ({"from": "18:00", "to": "18:00"}, "expected from before 24:00, and to at another time"),
        ({"from": "24:00", "to": "18:00"}, "expected from before 24:00, and to at another time"),
        ({"from": 1080, "to": "22:00"}, 'expected a time of day in quotes, such as "18:00", got 1080'),
        ({"from": "25:00", "to": "26:00"}, "expected a time of day in quotes"),
        ({"days": ["sat"], "zone": "Paris"}, "unknown time zone 'Paris'"),
    ],
)
def test_invalid_time_of_day_is_refused(form: dict[str, Any], reason: str) -> None:
    assert any(reason in issue for issue in issues_of({"did": "A", "time_of_day": form}))


# -- words ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"did": "any_event"}, "did any event"),
        ({"did": "A", "where": {"context.os.name": "iOS"}}, "did A where context.os.name = iOS"),
        (
            {"did": "A", "where": {"l": {"any": {"a": 1, r"b\.c": {"gte": 2}}}}},
            r"did A where l has an element with a = 1 and b\.c ≥ 2",
        ),
        (
            {"did": "A", "where": {"l": {"count": {"gte": 2, "where": {"a": 1}}}}},
            "did A where l number of elements ≥ 2 with a = 1",
        ),
        (
            {"sum": "p", "as": "number", "money": {"currency": "EUR"}, "of": "A", "is": {"gte": 2}},
            "sum of p as number in EUR over A ≥ 2",
        ),
        ({"trait": r"a\.b", "is": {"as": "text", "eq": "7"}}, r"trait a\.b as text = 7"),
        (
            {
                "did": "A",
                "time_of_day": {"days": ["sat"], "from": "18:00", "to": "24:00"},
            },
            "did A where time on sat from 18:00 to 24:00 (UTC)",
        ),
    ],
)
def test_rule_in_words(form: dict[str, Any], words: str) -> None:
    assert label(rule(form)) == words


# -- what no event had ---------------------------------------------------------------------------------


def test_survey_names_paths_of_the_context_and_of_lists_that_no_event_had() -> None:
    survey = Survey(
        [
            definition({"sum": "l.price", "of": "A", "is": {"gte": 1}}),
            definition({"did": "A", "where": {"l": {"any": {"kinds": {"none": {"name": "y"}}}}}}),
            definition({"did": "any_event", "where": {"context.os.name": "iOS", "q": 1}}),
        ]
    )
    survey.observe(Event("A", 0, "m1", {"l": [{"p": 1}]}))
    assert list(survey.paths_never_met()) == [
        "no event has context.os.name",
        "no event has q",
        "no A has l.kinds",
        "no A has l.kinds.name",
        "no A has l.price",
    ]
    found = {"l": [{"price": 1}, {"kinds": [{"name": "x"}]}], "q": 1}
    survey.observe(Event("A", 0, "m2", found, context={"os": {"name": "x"}}))
    assert not list(survey.paths_never_met()) and not list(survey.names_never_met())


def test_survey_suggests_a_conversion_of_numbers_written_as_text() -> None:
    forms = (
        {"sum": "revenue", "of": "A", "is": {"gte": 1}},
        {"did": "A", "where": {"price": {"gte": 5}}},
        {"sum": "tax", "as": "number", "of": "A", "is": {"gte": 1}},
        {"latest": "code", "of": "A", "is": {"eq": "7"}},
    )
    survey = Survey([definition(form) for form in forms])
    for number in range(2):
        survey.observe(Event("A", 0, f"m{number}", {"revenue": "59.90", "tax": "5", "code": "7"}))
    survey.observe(Event("A", 0, "m3", {"revenue": 5, "price": "6", "code": "7"}))
    survey.observe(Event("A", 0, "m4", {"revenue": "much", "price": "x"}))
    assert list(survey.suggestions()) == [
        "price of A: 1 event has a number as text; as: number reads it",
        "revenue of A: 2 events have numbers as text; as: number reads it",
    ]


def test_traits_that_are_numbers_as_text_are_suggested() -> None:
    forms: tuple[dict[str, Any], ...] = (
        {"trait": "points", "is": {"gte": 5}},
        {"has_been": {"trait": "tax.rate", "is": {"lt": 5}}, "for": "1d"},
        {"trait": "read", "is": {"as": "number", "gte": 5}},
        {"trait": "code", "is": {"eq": "7"}},
    )
    survey = Survey([definition(form) for form in forms])
    for number, points in enumerate(("7", "8.5", 7, "many", None)):
        traits = {"points": points, "tax": {"rate": "4"} if number else None, "read": "7", "code": "7"}
        survey.observe(Event("identify", 0, f"m{number}", {}, traits))
    assert list(survey.suggestions()) == [
        "the trait points: 2 events have numbers as text; as: number reads it",
        "the trait tax.rate: 4 events have numbers as text; as: number reads it",
    ]
    assert list(survey.paths_never_met()) == []
