"""Affinities: lifts that fade with time, the strongest value, and the shares of a population."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations
from math import fsum
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.features import reducer_of
from segops.core.features.states import Entries, Entry
from segops.core.rules.model import Node
from segops.core.rules.parsing import Context, read_rule
from segops.core.scans import VOTES, PopulationCounter, population_named, populations_read
from segops.core.scoring.affinity import AffinityScore, Drawn, drawn, lift, shares_of
from segops.core.scoring.order_scores import LATEST_MS, rank_among
from segops.core.segments import Definition, SegmentSet
from segops.core.values import exact
from segops.testing import Customer, Flip

from .helpers import MONDAY
from .models import affinity, models_of

DAY_MS = 86_400_000
NAME = "affinity.category"
SHOES = {"score": NAME, "of": "shoes", "is": {"gte": 2}}
STRONGEST = {"score": NAME, "is": {"in": ["shoes", "hats"]}}


def rule(form: dict[str, Any], *forms: dict[str, Any]) -> Node:
    context = Context("f.yaml")
    context.models = models_of(*forms)
    return read_rule(form, "when", context)


def customer(model: dict[str, Any], **rules: Any) -> Customer:
    found = Customer()
    found.engine = Engine(
        SegmentSet([Definition(key, key, rule(form, model)) for key, form in rules.items()])
    )
    return found


def score(of: str | None = "shoes", **changed: Any) -> AffinityScore:
    found: dict[str, Any] = {"names": ("View",), "path": ("category",), "half_life_ms": DAY_MS}
    shares = (("shoes", 0.25),) if of else (("hats", 0.5), ("shoes", 0.25))
    found |= {"prior": 1.0, "least": 1, "shares": shares, "of": of, "measured": True}
    return AffinityScore(**{**found, **changed})


# -- the lift ----------------------------------------------------------------------------------------------

_counts = st.floats(0.001, 5_000)
_parts = st.floats(0, 1)
_shares = st.floats(0.001, 1)
_priors = st.floats(0.01, 1_000)


@given(_counts, _parts, _shares, _priors, st.integers(0, 40))
def test_lift_is_the_ratio_of_shares_after_adding_the_prior(
    total: float, part: float, share: float, prior: float, halves: int
) -> None:
    count, decay = total * part, Fraction(1, 2**halves)
    own = decay * Fraction(count) + Fraction(prior) * Fraction(share)
    whole = decay * Fraction(total) + Fraction(prior)
    expected = float(own / whole / Fraction(share))
    assert lift(count / share, total, prior, float(halves)) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(
    *(_counts, _parts, _shares, _priors),
    st.integers(1_000, 400 * DAY_MS),
    st.integers(0, 10**12),
    st.integers(1, 10**12),
)
def test_lifts_never_turn(
    total: float, part: float, share: float, prior: float, half_life_ms: int, age_ms: int, later_ms: int
) -> None:
    of = score(shares=(("shoes", share),), prior=prior, half_life_ms=half_life_ms)
    read = Drawn({"shoes": total * part}, total, 1, 0)
    one, other = (of.value(read, at) for at in (age_ms, age_ms + later_ms))
    assert 1 <= other <= one if total * part / share > total else one <= other <= 1


_lifts = st.tuples(_counts, _parts, _shares, _priors, st.integers(1_000, 400 * DAY_MS))


@given(
    _lifts,
    st.integers(0, 10 * DAY_MS),
    st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0])),
    st.booleans(),
)
def test_a_crossing_is_at_the_first_millisecond_and_found_in_few_evaluations(
    drawn_lift: tuple[float, float, float, float, int], now_ms: int, way: float, exactly: bool
) -> None:
    total, part, share, prior, half_life_ms = drawn_lift
    of = score(shares=(("shoes", share),), prior=prior, half_life_ms=half_life_ms)
    read, tried = Drawn({"shoes": total * part}, total, 1, 0), []
    begun = of.value(read, now_ms)
    number = round(begun + (1 - begun) * way, 2 if way < 0.5 else 9)
    numbers = [exact(number) if exactly else number]

    def seen(at_ms: int) -> int:
        value = of.value(read, at_ms)
        return rank_among(numbers, exact(value) if exactly else value)

    def view(value: float) -> Any:
        tried.append(value)
        return exact(value) if exactly else value

    crossing = of.next_crossing(read, numbers, now_ms, view)
    assert len(tried) < 30 or number == 1
    if crossing is None:
        assert seen(LATEST_MS) == seen(now_ms)
        return
    around = range(max(crossing - 20, now_ms), crossing + 20)
    assert [seen(at) == seen(now_ms) for at in around] == [at < crossing for at in around]


def test_a_lift_falls_to_the_threshold_and_a_view_raises_it_again() -> None:
    ann = customer(affinity(), shoes=SHOES)
    assert ann.did("View", MONDAY, category="shoes") == [Flip("entered", "shoes", MONDAY)]
    left = MONDAY + DAY_MS + 1
    assert ann.wait(MONDAY + 3 * DAY_MS) == [Flip("exited", "shoes", left)]
    assert ann.did("View", MONDAY + 3 * DAY_MS, category="shoes")[0].action == "entered"


# -- counts ------------------------------------------------------------------------------------------------

_events = st.lists(
    st.tuples(
        st.integers(0, 30 * DAY_MS), st.lists(st.sampled_from(["shoes", "hats", "ü", 5, True]), max_size=3)
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(_events, st.randoms(use_true_random=False))
def test_counts_do_not_depend_on_the_order_of_arrival(
    events: list[tuple[int, list[Any]]], random: Any
) -> None:
    reducer = reducer_of(score().feature)
    states: list[Any] = [None, None]
    for at, state in enumerate(states):
        for time_ms, values in events if at == 0 else random.sample(events, len(events)):
            state = reducer.add(state, time_ms, (values, ()), 40 * DAY_MS) or state
        states[at] = state
    one, other = (drawn(each, DAY_MS) for each in states)
    assert one == other
    found = [(time_ms, value) for time_ms, values in events for value in values if isinstance(value, str)]
    if one is None:
        assert not found
        return
    latest_ms = max(time_ms for time_ms, _ in found)
    assert (one.counted, one.latest_ms) == (len(found), latest_ms)
    ages = {name: [latest_ms - at for at, value in found if value == name] for name in one.counts}
    for name, each in ages.items():
        assert one.counts[name] == pytest.approx(fsum(2 ** -(age / DAY_MS) for age in each))
    assert one.total == pytest.approx(fsum(one.counts.values()))


def test_total_is_the_same_in_every_order_of_equal_times() -> None:
    """A plain sum of these weights depends on the order in which the values come first."""
    times = {"a": [0, 115_200_007, 115_200_007], "b": [0, 28_800_007, 86_400_007]}
    times["c"] = times["a"]
    totals = set()
    for order in permutations("abc"):
        pairs = [(at, value) for value in order for at in times[value]]
        found = drawn(
            Entries([Entry(at, [value], ()) for at, value in sorted(pairs, key=lambda pair: pair[0])]), DAY_MS
        )
        assert found is not None
        totals.add(found.total)
    assert len(totals) == 1


def test_strongest_is_the_greatest_lift_above_one() -> None:
    of = score(None)
    assert of.strongest(Drawn({"shoes": 1.0, "hats": 2.0}, 3.0, 3, 0)) == "hats"
    assert of.strongest(Drawn({"shoes": 1.01, "hats": 2.0}, 3.01, 3, 0)) == "shoes"
    assert of.strongest(Drawn({"shoes": 0.5, "hats": 1.0, "socks": 0.5}, 2.0, 4, 0)) is None
    assert of.strongest(Drawn({"shoes": 0.5, "hats": 1.0, "socks": 9.0}, 10.5, 11, 0)) is None


@given(_counts, _counts, _counts, st.floats(0, 50))
def test_strongest_has_the_greatest_lift_at_every_instant(
    hats: float, shoes: float, socks: float, halves: float
) -> None:
    read = Drawn({"shoes": shoes, "hats": hats, "socks": socks}, hats + shoes + socks, 3, 0)
    found = score(None).strongest(read)
    lifts = {
        "hats": lift(hats / 0.5, read.total, 1.0, halves),
        "shoes": lift(shoes / 0.25, read.total, 1.0, halves),
    }
    assert found is None or lifts[found] == max(lifts.values()) >= 1
    assert found is not None or max(lifts.values()) <= 1


@pytest.mark.parametrize(
    ("changed", "forms"),
    [
        ({"least": 2}, [SHOES, STRONGEST]),
        ({"shares": {"socks": 0.5}}, [SHOES, STRONGEST]),
        ({"shares": None}, [SHOES, STRONGEST]),
    ],
)
def test_without_counts_enough_or_a_share_there_is_no_score(changed: Any, forms: list[Any]) -> None:
    exists = [{**form, "is": {"exists": True}} for form in forms]
    ann = customer(affinity(**changed), **{f"s{number}": form for number, form in enumerate(exists)})
    ann.did("View", MONDAY, category="shoes")
    assert ann.member_of == set()


# -- the population ----------------------------------------------------------------------------------------


def test_rules_of_different_values_read_one_population() -> None:
    definitions = [Definition(str(of), "s", rule({**SHOES, "of": of}, affinity())) for of in ("shoes", "x")]
    definitions.append(Definition("t", "t", rule(STRONGEST, affinity(shares=None))))
    assert populations_read(definitions) == [NAME]
    assert population_named(NAME, definitions) == score(None, shares=(), measured=False)


_views = st.lists(st.tuples(st.integers(0, 30 * DAY_MS), st.sampled_from(["shoes", "hats", "ü"])), max_size=6)


@settings(max_examples=25, deadline=None)
@given(st.lists(_views, min_size=1, max_size=6), st.integers(1, 3), st.integers(1, 3))
def test_shares_equal_a_recount_over_all_profiles(
    histories: list[list[tuple[int, str]]], partitions: int, least: int
) -> None:
    definition = Definition("s", "s", rule(SHOES, affinity(least=least)))
    engine, now_ms = Engine(SegmentSet([definition])), MONDAY + 31 * DAY_MS
    counters = [PopulationCounter({NAME: population_named(NAME, [definition])}) for _ in range(partitions)]
    for number, views in enumerate(histories):
        profile = engine.new_profile(f"user_id:{number}")
        for at, (age_ms, value) in enumerate(sorted(views, reverse=True)):
            event = Event("View", now_ms - age_ms, f"m{at}", {"category": value})
            engine.on_event(profile, event, clock_ms=now_ms - age_ms)
        counters[number % partitions].visit(profile, now_ms)
    votes: dict[str, float] = {}
    voters = [views for views in histories if len(views) >= least]
    for views in voters:
        weights = [(value, 2 ** -(age_ms / DAY_MS)) for age_ms, value in views]
        whole = 1 + sum(weight for _, weight in weights)
        for value, weight in weights:
            votes[value] = votes.get(value, 0) + weight / whole
    first, *others = [counter.result() for counter in counters]
    for each in others:
        first = first.merged(each)
    measured = first.models[NAME]
    assert measured.profiles == len(voters)
    total = sum(votes.values())
    assume(total > 0.1)
    shares = shares_of(measured.histograms[VOTES], 10)
    assert [shares.get(value, 0) for value in votes] == pytest.approx(
        [vote / total for vote in votes.values()], abs=1e-4
    )
