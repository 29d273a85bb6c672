"""Published definitions: which records are read back, and which are rejected."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given

from segops.core.errors import DefinitionError
from segops.schemas.published_lookups import columns_form
from segops.schemas.segments import definition_from_record, definition_to_record
from segops.testing import definition as of_rule
from tests.core.strategies import RFM, rules
from tests.core.strategies_areas import PLACES
from tests.core.strategies_lookups import BLOCKS
from tests.core.strategies_scores import score_models


@given(rules())
def test_definition_round_trips_through_its_record(rule: dict[str, Any]) -> None:
    made = of_rule("s", rule, areas=PLACES, tables=BLOCKS, rfm=RFM, models=score_models(rule))
    text = {"key": "s", "name": "N", "description": "D", "version": 3, "places": PLACES, "when": rule}
    text |= {"rfm": RFM}
    text |= {"lookups": columns_form(made.columns)} | ({} if made.models is None else {"models": made.models})
    definition = definition_from_record(msgspec.json.encode(text))
    assert definition is not None
    again = definition_from_record(definition_to_record(definition))
    assert again is not None
    assert again == definition
    assert (again.identity, again.version, again.name, again.description) == (
        definition.identity,
        3,
        "N",
        "D",
    )


def test_retired_key_decodes_to_none() -> None:
    assert definition_from_record(b'{"key":"s","version":2,"retired":true}') is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b"5",
        b"\xff",
        b"{}",
        b'{"key":"s","when":{"did":"A"}}',
        b'{"key":"s","version":0,"when":{"did":"A"}}',
        b'{"key":"s","version":"1","when":{"did":"A"}}',
        b'{"key":"s","version":1,"when":{"dit":"A"}}',
        b'{"key":"s","version":1,"when":{"did":"A"},"extra":1}',
        b'{"key":"s","version":9223372036854775808,"when":{"did":"A"}}',
        b'{"key":"s","version":1e30,"when":{"did":"A"}}',
        b'{"key":"s","version":2.0,"when":{"did":"A"}}',
        b'{"key":"s","version":true,"when":{"did":"A"}}',
        b'{"key":"s","version":9223372036854775808,"retired":true}',
        b'{"key":"s","version":"2","retired":true}',
        b'{"key":"s","retired":true}',
        b'{"key":"s","version":1,"when":{"trait":"a","is":{"eq":1' + b"0" * 30 + b"}}}",
        b'{"key":"s","version":1,"when":{"trait":"a","is":{"eq":1e400}}}',
        b'{"key":"s","version":1,"when":' + b'{"not":' * 5_000 + b'{"did":"A"}' + b"}" * 5_001,
        b'{"key":"s","version":1,"when":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"key":"s","version":1,"when":{"did":"\\ud800"}}',
        b'{"key":"s","version":1,"when":{"did":"A"},"membership":{"max_entries":18446744073709551616}}',
        b'{"key":"s","version":1,"rfm":{"frequency":[1' + b"0" * 30 + b']},"when":{"rfm":"x"}}',
    ],
)
def test_invalid_definition_record_is_rejected(value: bytes) -> None:
    with pytest.raises(DefinitionError):
        definition_from_record(value)


def test_version_has_at_most_63_bits() -> None:
    found = definition_from_record(b'{"key":"s","version":9223372036854775807,"when":{"did":"A"}}')
    assert found is not None and found.version == 2**63 - 1


def test_published_rule_stays_readable_even_if_now_invalid() -> None:
    """What an earlier version let through must not stop a worker."""
    when = {"all": [{"did": "A"}, {"did_not": "A"}]}
    assert definition_from_record(msgspec.json.encode({"key": "s", "version": 1, "when": when})) is not None
