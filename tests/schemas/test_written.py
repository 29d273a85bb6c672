"""YAML and JSON as people write them: what a scalar means, and bounds that say where they are exceeded."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from segops.schemas.written import MAX_DEPTH, check_bounds, read_json, read_yaml

DOUBLING = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 64))
MERGING = "a0: &a0 {x: [1, 2]}\n" + "".join(
    f"a{i}: &a{i} {{l: *a{i - 1}, r: *a{i - 1}}}\n" for i in range(1, 64)
)
DEEPENING = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 300))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("a: 2026-01-01", {"a": "2026-01-01"}),
        ("a: 2026-01-01T10:00:00Z", {"a": "2026-01-01T10:00:00Z"}),
        ("a: 1:2:3", {"a": "1:2:3"}),
        ("a: 18:30", {"a": "18:30"}),
        ("a: -1:30.5", {"a": "-1:30.5"}),
        ("a: " + ":".join(["59"] * 5_000), {"a": ":".join(["59"] * 5_000)}),
        ("a: [1, -1_000, 0x1f, 0b11, 0, +7]", {"a": [1, -1000, 31, 3, 0, 7]}),
        ("a: [1.5, .5, -2.0e+3]", {"a": [1.5, 0.5, -2000.0]}),
        ("a: [yes, no, true, off, ~, null, '']", {"a": [True, False, True, False, None, None, ""]}),
        ("a: ['1', \"2\", !!str 3, !!int '4']", {"a": ["1", "2", "3", 4]}),
        ("a: =\nb: <<", {"a": "=", "b": "<<"}),
        ("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}", {"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 3}}),
        ("- &x {p: 1}\n- {<<: [*x, {p: 2, r: 2}]}", [{"p": 1}, {"p": 1, "r": 2}]),
        ("a: 18446744073709551615\nb: -9223372036854775808", {"a": 2**64 - 1, "b": -(2**63)}),
        ("089", "089"),
    ],
)
def test_yaml_scalars_are_read_as_they_look(text: str, value: Any) -> None:
    assert read_yaml(text) == value


@pytest.mark.parametrize(
    ("text", "location", "reason"),
    [
        (DOUBLING, (18, 17), "more than 2,000,000 values, counting expanded aliases"),
        (MERGING, None, "more than 2,000,000 values"),
        (DEEPENING, (199, 13), "nested more than 200 levels deep"),
        ("a: " + "[" * 300 + "]" * 300, (0, 202), "nested more than 200 levels deep"),
        ("a: " + "[" * 5_000 + "]" * 5_000, None, "exceeded maximum nesting depth"),
        ("- " * 1_000 + "x", (0, 400), "nested more than 200 levels deep"),
        ("\n&a [*a]", (1, 4), "unknown alias *a: no complete value before it has that anchor"),
        ("a: *b", (0, 3), "unknown alias *b"),
        ("a:\n  b: 18446744073709551616", (1, 5), "integer exceeds 64 bits"),
        ("a: -9223372036854775809", (0, 3), "integer exceeds 64 bits"),
        ("a: " + "9" * 20_000, (0, 3), "integer exceeds 64 bits: 999999999999999999999999..."),
        ("a: 0x" + "f" * 20_000, (0, 3), "integer exceeds 64 bits"),
        ("a: 010", (0, 3), "010 is an octal number in YAML; quote it, or drop the leading zero"),
        ("a: !!int x", (0, 3), "invalid int 'x'"),
        ("a: !!bool 1:2", (0, 3), "invalid bool '1:2'"),
        ("a: !!python/name:os.system x", (0, 3), "unknown tag"),
        ("a: !!set {x}", (0, 3), "unknown tag"),
        ("? [a]\n: b", (0, 4), "expected a string as a key, got a map or a list"),
        ("<<: 1", (0, 4), "expected a map or a list of maps after <<"),
        ("a: 1\n---\nb: 2", (1, 0), "expected one document, got a second one"),
        ("x:\n  a: 1\n  a: 2", (1, 2), "duplicate key 'a'"),
    ],
)
def test_limit_or_mistake_is_reported_with_line_and_column(
    text: str, location: tuple[int, int] | None, reason: str
) -> None:
    with pytest.raises(yaml.MarkedYAMLError) as caught:
        read_yaml(text)
    assert reason in str(caught.value.problem)
    mark = caught.value.problem_mark
    assert mark is not None
    assert location is None or (mark.line, mark.column) == location


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1' + "0" * 30 + "}", "integer exceeds 64 bits"),
        ('{"a": ' + "9" * 20_000 + "}", "integer exceeds 64 bits"),
        ("[" * 300 + "]" * 300, "nested more than 200 levels deep"),
        ("[" * 200_000 + "]" * 200_000, "nested more than 200 levels deep"),
        ('{"a": ["\\ud800"]}', "lone surrogate in a string"),
        ('{"\\udfff": 1}', "lone surrogate in a string"),
        ('{"a": 1, "a": 1}', "duplicate key 'a'"),
        ('{"a": NaN}', "NaN is not valid JSON"),
    ],
)
def test_json_beyond_a_limit_is_rejected(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_json(text)


def test_shared_values_count_each_time() -> None:
    value: Any = "x"
    for _ in range(30):
        value = [value, value]
    with pytest.raises(ValueError, match="more than 2,000,000 values"):
        check_bounds(value)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_depth_limit_is_exact() -> None:
    check_bounds(nested(MAX_DEPTH))
    read_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(ValueError, match="levels deep"):
        check_bounds(nested(MAX_DEPTH + 1))
    with pytest.raises(yaml.MarkedYAMLError):
        read_yaml("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(plain)
def test_yaml_dump_round_trips(value: Any) -> None:
    assert read_yaml(yaml.safe_dump(value)) == value
