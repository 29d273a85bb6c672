"""The kernel computes floats as Python does; where it does not, scores are Python's."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from segops.core.identifiers import Rules
from segops.core.profile import Profile
from segops.core.scoring.buying import Buying
from segops.core.scoring.models import BuyingParameters, Model
from segops.core.segments import SegmentSet
from segops.kernel import floats, found, rules
from segops.kernel.answers import Answers
from segops.kernel.tables import Limits, exported
from segops.testing import definition

_floats = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-800, 800),
    st.floats(0, 1),
    st.integers(-(10**6), 10**6).map(lambda n: n / 1024),  # halves of the ninth decimal among them
)


@pytest.mark.skipif(found()[0] is None, reason="the kernel is not built")
@settings(max_examples=300)
@given(st.lists(_floats, min_size=1, max_size=12))
@example([0.0009765625, 2.0**-10 * 3, 1e308, 5e-324])
def test_functions_are_pythons_bit_by_bit(numbers: list[float]) -> None:
    ours = floats.probe(numbers)
    theirs = found()[0].probe(numbers, floats.COMPENSATED)
    assert [*map(repr, theirs)] == [*map(repr, ours)]


@pytest.mark.skipif(found()[0] is None, reason="the kernel is not built")
def test_the_kernel_that_is_built_here_agrees() -> None:
    assert floats.alike(found()[0])
    assert not floats.alike(SimpleNamespace(probe=lambda numbers, _: _one_bit_off(numbers)))


def _one_bit_off(numbers: list[float]) -> list[float | None]:
    same = floats.probe(numbers)
    at = next(at for at, value in enumerate(same) if value is not None and value > 1)
    return [*same[:at], (same[at] or 0.0) * (1 + 2**-52), *same[at + 1 :]]


def test_scores_are_pythons_where_floats_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    models = {"buying": Model("buying", "bg-nbd", BuyingParameters(Buying(0.2, 30.0, 0.8, 2.4)))}
    of = SegmentSet(
        [
            definition("s", {"score": "p_alive", "is": {"gte": 0.5}}, models=models),
            definition("t", {"did": "A", "where": {"context.app": "x"}}),
        ]
    )
    limits = Limits((), (), Rules(), 1_000)
    assert not exported(of, limits).unlike
    monkeypatch.setattr(rules, "agree", lambda: False)
    left = exported(of, limits)
    assert left.unlike == {0}
    assert msgspec.msgpack.decode(left.tables)[3][0][4] is None
    asked = Answers(of, left, lambda *_: pytest.fail("no event is decoded"))
    for segment in (0, 1):
        asked.verdict(segment, msgspec.msgpack.encode(Profile("user_id:u")), 5)
    assert asked.take()[0] == {"asked_score": 1, "asked_rule": 1}
