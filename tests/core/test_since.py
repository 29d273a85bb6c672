"""``since_last``: what came after the last anchor, whatever the order of arrival."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.features import MAX_ENTRIES, Feature, extractor, reducer_of
from segops.core.features.merging import merge_state
from segops.core.features.states import Counted, SinceAnchor
from segops.core.rules import model
from segops.core.rules.analysis import linter
from segops.core.rules.analysis.capacity import stored_in_full
from segops.core.rules.execution import compile_rule, feature_of
from segops.core.rules.parsing import Context, read_rule
from segops.core.rules.wording import label
from segops.core.segments import SegmentSet
from segops.core.survey import Survey
from segops.core.views.explain import explain
from segops.core.windows import ALWAYS, Between, Calendar, SinceLast, Within
from segops.testing import Customer, Flip
from tests.rest import examples

from .backfilling import switched
from .helpers import MONDAY as T
from .helpers import D, H, issues_of
from .strategies import ANCHORED_AGGREGATES, BASE_MS, count_predicates, value_predicates
from .test_equivalence import assert_agreement, make_definition

LEFT = {"did_not": "Order Completed", "since_last": "Cart Updated"}


def read(form: dict[str, Any]) -> model.Node:
    return read_rule(form, "when", Context("f"))


# -- memberships -----------------------------------------------------------------------------------------


def test_left_cart_bought_later_and_left_again() -> None:
    customer = Customer(left={"all": [{"last": "Cart Updated", "is": {"older_than": "1d"}}, LEFT]})
    assert customer.did("Cart Updated", T) == []
    assert customer.wait(T + D - 1) == []
    assert customer.wait(T + D) == [Flip("entered", "left", T + D)]
    assert customer.did("Order Completed", T + 3 * D) == [Flip("exited", "left", T + 3 * D)]
    assert customer.did("Cart Updated", T + 4 * D) == []
    assert customer.wait(T + 5 * D) == [Flip("entered", "left", T + 5 * D)]


@pytest.mark.parametrize(
    "form",
    [
        {"did_not": "B", "since_last": "A"},
        {"did": "B", "count": {"eq": 0}, "since_last": "A"},
        {"did": "B", "count": {"gte": 0}, "since_last": "A"},
        {"sum": "p", "of": "B", "is": {"lte": 0}, "since_last": "A"},
        {"latest": "p", "of": "B", "is": {"exists": False}, "since_last": "A"},
        {"avg": "p", "of": "B", "is": {"exists": False}, "since_last": "A", "same": "q"},
        {"distinct": "p", "of": "B", "is": {"lt": 2}, "since_last": "A"},
    ],
    ids=str,
)
def test_without_an_anchor_every_test_is_false(form: dict[str, Any]) -> None:
    customer = Customer(rule=form)
    assert customer.did("C", T) == []
    assert customer.did("B", T + 1) == []
    assert customer.did("A", T + 2) == [Flip("entered", "rule", T + 2)]


def test_any_order_of_arrival_gives_the_same_memberships() -> None:
    """Two anchors and two selected events, two of them at one time: only that pair depends on its arrival."""
    names = {"m1": ("A", T), "m2": ("B", T + 1), "m3": ("A", T + 2), "m4": ("B", T + 2)}
    for order in permutations(names):
        customer = Customer(one={"did": "B", "since_last": "A"}, none={"did_not": "B", "since_last": "A"})
        for message in order:
            name, time_ms = names[message]
            customer.send(name, time_ms, message_id=message)
        follows = order.index("m4") > order.index("m3")
        assert customer.member_of == {"one" if follows else "none"}, order


# -- the state -------------------------------------------------------------------------------------------


def test_events_before_the_anchor_are_not_stored() -> None:
    customer = Customer(rule={"sum": "p", "of": "B", "is": {"gte": 3}, "since_last": "A"})
    for number in range(5):
        customer.send("B", T + number, p=1)
    customer.send("A", T + 2)
    (state,) = customer.profile.features.values()
    assert isinstance(state, SinceAnchor)
    assert [entry.time_ms for entry in state.entries] == [T + 3, T + 4]
    assert customer.member_of == set()
    customer.send("B", T + 1, p=9)
    customer.send("B", T + 5, p=1)
    assert customer.member_of == {"rule"}


@pytest.mark.parametrize(
    ("form", "number"),
    [
        ({"did_not": "B", "since_last": "A"}, 1),
        ({"did": "B", "count": {"between": [2, 9]}, "since_last": "A"}, 16),
        ({"latest": "p", "of": "B", "is": {"eq": 1}, "since_last": "A"}, 1),
        ({"did_not": "B", "since_last": "A", "same": "q"}, MAX_ENTRIES),
        ({"did_not": "B", "where": {"q": {"in_last": "1d"}}, "since_last": "A"}, MAX_ENTRIES),
        ({"sum": "p", "of": "B", "is": {"gte": 1}, "since_last": "A"}, MAX_ENTRIES),
    ],
    ids=str,
)
def test_number_of_events_kept(form: dict[str, Any], number: int) -> None:
    feature = feature_of(read(form))
    assert feature is not None
    take, reducer, state = extractor(feature), reducer_of(feature), None
    assert take is not None
    for at in range(number + 5):
        event = Event("B", T + at, f"m{at}", {"p": 1, "q": "2026-01-01"})
        state = reducer.add(state, event.time_ms, take(event), event.time_ms)
    assert isinstance(state, SinceAnchor)
    assert [entry.time_ms for entry in state.entries] == [T + at for at in range(5, number + 5)]


def test_counts_with_other_thresholds_have_a_state_of_their_own() -> None:
    """So a raised threshold is filled from history instead of read from a state that lacks events."""
    few, more, same = (
        feature_of(read({"did": "B", "count": {"gte": k}, "since_last": "A"})) for k in (2, 9, 10)
    )
    assert few is not None and more is not None and same is not None
    assert len({few.id, more.id, same.id}) == 2
    assert more.id == same.id


def test_identities_of_earlier_features_and_rules_are_unchanged() -> None:
    """These constants come from the version before ``since_last``."""
    within = Feature("count", ("A",), (), Within(5), capacity=4)
    others = [
        Feature("distinct", ("A",), (), ALWAYS, ("p",), capacity=4),
        Feature("sum", ("A", "B"), (), Between(9, 2), ("p",)),
        Feature("count", ("A",), (), Calendar("day", "UTC")),
    ]
    assert [each.id for each in (within, *others)] == FEATURE_IDS
    assert within.former_ids[:2] == FORMER_IDS
    assert model.identity(read({"did": "A", "within": "1h", "where": {"p": 1}}))[:16] == RULE_IDENTITY


FEATURE_IDS = [6286871253217735601, 8674467364954097480, 8807249671417733238, 2330299275208881842]
FORMER_IDS = (8045573711421088487, 7561732915400725298)
RULE_IDENTITY = "8e21f722b56b67ea"


def test_stored_states_keep_the_survivors_anchor_at_equal_times() -> None:
    feature = Feature("count", ("B",), (), SinceLast(("A",)))
    anchor, event = (None, (True, None)), (None, (False, None))
    reducer = reducer_of(feature)

    def state(*events: tuple[int, Any]) -> Any:
        found = None
        for time_ms, value in events:
            found = reducer.add(found, time_ms, value, 100) or found
        return found

    def merged(mine: Any, theirs: Any, *shared: int) -> Any:
        notes = [Counted(time_ms) for time_ms in shared]
        return reducer.read(merge_state(feature, mine, theirs, shared=notes, now_ms=100), 100)

    late = (5, event), (10, event), (15, event)
    assert merged(state((10, anchor)), state(*late)) == 1, "the source's event of that time came before"
    assert merged(state(*late), state((10, anchor))) == 2, "the survivor's event of that time came after"
    assert merged(state((10, anchor), (10, event)), state((10, anchor), (10, event), (11, event))) == 2
    assert merged(state((3, anchor), (15, event)), state((3, anchor), (15, event)), 3, 15) == 1
    assert merged(state(*late), state(*late)) is None


@pytest.mark.parametrize(
    "form", [LEFT, {"sum": "p", "of": "B", "is": {"gte": 2}, "since_last": "A"}], ids=str
)
def test_history_gives_the_state_that_a_live_feature_has(form: dict[str, Any]) -> None:
    events = [
        Event(name, T + number, f"m{number}", {"p": number})
        for number, name in enumerate(["B", "A", "Cart Updated", "B", "Order Completed", "B", "Cart Updated"])
    ]
    former = SegmentSet([make_definition("other", {"did": "page"})])
    engine = Engine(SegmentSet([make_definition("other", {"did": "page"}), make_definition("s", form)]))
    live, blank = engine.new_profile("user_id:u1"), Engine(former)
    late = blank.new_profile("user_id:u1")
    for event in events:
        engine.on_event(live, event, clock_ms=event.time_ms)
        blank.on_event(late, event, clock_ms=event.time_ms)
    filled = switched(late, engine, events, former=former, clock_ms=T + 9)
    assert filled.features == live.features
    assert set(filled.members) == set(live.members) == {"s"}


_names = st.sampled_from(["A", "B", "C", "A", "B"])
_dates = st.sampled_from([None, "2025-10-09T08:53:25Z", "2025-10-09T08:53:30Z"])
_steps = st.lists(
    st.tuples(
        _names, st.integers(-4, 4), st.sampled_from([None, 1, 1, 1.0, 2, "1"]), st.integers(0, 3), _dates
    ),
    min_size=1,
    max_size=9,
)


@st.composite
def anchored_rules(draw: Any) -> dict[str, Any]:
    """Draw a node of any kind with a window that begins with an anchor, often compared."""
    window = {"since_last": draw(st.sampled_from(["A", "B", ["A", "C"]]))}
    window |= draw(st.sampled_from([{}, {"same": "p"}, {"same": "p"}]))
    window |= draw(st.sampled_from([{}, {}, {"where": {"q": {"newer_than": "4s"}}}, {"where": {"p": 1}}]))
    of = draw(st.sampled_from(["A", "B", ["B", "C"]]))
    head = draw(st.sampled_from(["did", "did_not", *ANCHORED_AGGREGATES]))
    if head == "did_not":
        return {head: of, **window}
    if head == "did":
        return {head: of, "count": draw(count_predicates()), **window}
    test = draw(count_predicates() if head == "distinct" else value_predicates)
    return {head: "n", "of": of, "is": test, **window}


@examples(100, of=400)
@given(anchored_rules(), _steps, st.booleans())
def test_anchored_nodes_equal_the_reference(form: dict[str, Any], drawn: list[Any], watermark: bool) -> None:
    """Few names, times and values, so that anchors are late, at equal times, and compared with success."""
    steps = [
        ("event", Event(name, BASE_MS + shift * 500, f"m{number}", {"p": p, "n": n, "q": date}))
        for number, (name, shift, p, n, date) in enumerate(drawn)
    ]
    segments = SegmentSet([make_definition("s", form)])
    assert_agreement(segments, [*steps, ("clock", BASE_MS + 20_000)], watermark)


# -- mistakes, words and views -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "issue"),
    [
        ({"same": "p"}, "when.same: expected since_last beside same"),
        (
            {"since_last": []},
            "when.since_last: expected an event name, any_event, or a non-empty list of event names",
        ),
        (
            {"since_last": "any_event"},
            "when.since_last: expected event names: no event comes after the last of all",
        ),
        (
            {"since_last": "B", "same": "p..q"},
            "when.same: expected a property path, such as cart.total, got 'p..q'",
        ),
        ({"since_last": "B", "within": "1d"}, "when: expected at most one window, got since_last, within"),
        (
            {"since_last": "B", "since": "2026-01-01"},
            "when: expected at most one window, got since, since_last",
        ),
    ],
)
def test_mistakes_are_located(keys: dict[str, Any], issue: str) -> None:
    assert issues_of({"did": "A", **keys}) == [f"f: {issue}"]


def test_all_mistakes_are_reported_together() -> None:
    found = issues_of({"did": "A", "since_last": 5, "same": ""})
    assert [issue.split(": ")[1] for issue in found] == ["when.since_last", "when.same"]


def test_node_in_words() -> None:
    form = {"did_not": "Order Completed", "since_last": ["Visit", "Call"], "same": "cart.id"}
    words = "did not Order Completed since the last Call or Visit with the same cart.id"
    assert label(read(form)) == words


def test_explanation_has_no_value_without_an_anchor_and_says_what_is_kept() -> None:
    customer = Customer(
        rule={"did": "B", "count": {"gte": 2}, "since_last": "A"},
        same={"did": "B", "count": {"gte": 2}, "since_last": "A", "same": "p"},
        total={"sum": "p", "of": "B", "is": {"gte": 2}, "since_last": "A"},
    )

    def shown() -> dict[str, tuple[Any, bool, str | None]]:
        found = explain(customer.engine.segments, customer.profile, T + H).segments
        return {s.segment_key: (s.rule.value, s.rule.value_is_least, s.rule.note) for s in found}

    note = f"only the latest {MAX_ENTRIES:,} events are kept"
    customer.send("B", T, p=1)
    assert shown() == {"rule": (None, False, None), "same": (None, False, note), "total": (None, False, note)}
    customer.send("A", T + 1, p=1)
    for number in range(5):
        customer.send("B", T + 2 + number, p=1)
    assert shown() == {"rule": (4, True, None), "same": (5, False, note), "total": (5, False, note)}


def test_survey_reads_anchors_and_the_compared_property() -> None:
    survey = Survey([make_definition("s", {"did": "B", "since_last": "A", "same": "cart"})])
    assert list(survey.names_never_met()) == ["no event is named A", "no event is named B"]
    survey.observe(Event("A", T, "m1", {"cart": 1}))
    survey.observe(Event("B", T, "m2", {}))
    assert list(survey.paths_never_met()) == ["no B has cart"]


def test_threshold_that_stores_every_entry_is_noted() -> None:
    (found,) = stored_in_full(read({"did": "B", "count": {"gte": 300}, "since_last": "A"}))
    assert found[1].startswith(f"stores the latest {MAX_ENTRIES:,} entries of a customer, and counts no more")


@pytest.mark.parametrize(
    ("form", "never", "always"),
    [
        ({"any": [{"did": "B", "since_last": "A"}, {"did_not": "B", "since_last": "A"}]}, False, False),
        ({"all": [{"did": "B", "since_last": "A"}, {"did_not": "B", "since_last": "A"}]}, True, False),
        ({"all": [{"did": "B", "since_last": "A"}, {"did_not": "B"}]}, True, False),
        ({"any": [{"not": {"did": "B", "since_last": "A"}}, {"did": "B"}]}, False, True),
        (
            {"all": [{"not": {"did": "B", "since_last": "A"}}, {"not": {"did_not": "B", "since_last": "A"}}]},
            False,
            False,
        ),
        ({"sum": "p", "of": "B", "is": {"exists": True}, "since_last": "A"}, False, False),
    ],
)
def test_linter_knows_that_both_sides_fail_without_an_anchor(
    form: dict[str, Any], never: bool, always: bool
) -> None:
    found = linter.lint(read(form), "when")
    assert (bool(found.never), bool(found.always)) == (never, always)


def test_time_alone_moves_a_node_only_by_dates() -> None:
    still = compile_rule("s", read(LEFT), {})
    assert still.edges == ()
    timed = compile_rule("s", read({**LEFT, "where": {"p": {"in_last": "1d"}}}), {})
    assert timed.edges is None


def warnings_of(form: dict[str, Any]) -> list[str]:
    context = Context("s.yaml")
    read_rule(form, "when", context)
    return [str(warning) for warning in context.warnings]


_ALL_ANCHORS = [
    "s.yaml: when.since_last: no event counts: every event that the node selects is an anchor itself"
]


@pytest.mark.parametrize(
    ("form", "warned"),
    [
        ({"did": "A", "since_last": "A"}, _ALL_ANCHORS),
        ({"did_not": ["A", "B"], "since_last": ["B", "A"]}, _ALL_ANCHORS),
        ({"sum": "p", "of": "A", "is": {"gte": 1}, "since_last": ["A", "B"], "same": "q"}, _ALL_ANCHORS),
        ({"did": ["A", "B"], "since_last": "A"}, []),
        ({"did": "any_event", "since_last": "A"}, []),
        ({"did": "B", "count": {"gte": 0}, "since_last": "A"}, []),
        ({"distinct": "p", "of": "B", "is": {"gte": 0}, "since_last": "A"}, []),
        (
            {"distinct": "p", "of": "B", "is": {"gte": 0}},
            ["s.yaml: when.is: always holds: a count is never below 0"],
        ),
    ],
)
def test_windows_in_which_nothing_counts_are_warned_of(form: dict[str, Any], warned: list[str]) -> None:
    """A count of 0 or more is no tautology here: it fails until the anchor comes."""
    assert warnings_of(form) == warned


@pytest.mark.parametrize("head", [{"sessions": "A"}, {"active_days": "A"}, {"inside": "a"}, {"changed": {}}])
def test_nodes_without_an_anchor_say_where_it_is_possible(head: dict[str, Any]) -> None:
    reasons = [issue for issue in issues_of({**head, "since_last": "B"}) if ".since_last: " in issue]
    assert reasons == [
        "f: when.since_last: possible only beside did, did_not, sum, avg, min, max, distinct, latest or "
        "earliest, in a node of its own"
    ]
