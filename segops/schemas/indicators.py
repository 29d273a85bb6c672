"""Published indicators: their definitions from a file's block, and their records in two topics.

The segments topic has their definitions, under keys with a prefix; the indicators topic has their values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from segops.core.events import IndicatorValue
from segops.core.indicators import INDICATOR_PREFIX
from segops.core.rules.figures import Figure
from segops.core.rules.model import Node
from segops.core.rules.parsing import Context, read_published
from segops.core.segments import Definition
from segops.schemas.definition_blocks import written_blocks

Blocks = Callable[[Node], dict[str, Any]]

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(IndicatorValue)


def definitions_of(
    written: dict[str, Any], figures: Mapping[str, Figure], context: Context, *, blocks: Blocks
) -> list[Definition]:
    """Return the definitions of a block's published indicators.

    ``blocks``: returns the parts of the file's other blocks that a figure reads, by field of a definition.
    Raises DefinitionError with every mistake in when they are published.
    """
    return [
        Definition(
            f"{INDICATOR_PREFIX}{key}",
            key,
            node,
            written=written[key],
            source=context.source,
            **blocks(node),
        )
        for key, node in read_published(written, figures, "indicators", context).items()
    ]


def indicator_to_record(definition: Definition) -> bytes:
    """Encode the record that publishes the definition of an indicator."""
    form = {"key": definition.key, "version": definition.version, "indicator": definition.written}
    return msgspec.json.encode({**form, **written_blocks(definition)})


def value_key(profile_id: str, indicator: str) -> bytes:
    """Return the key of a value in the indicators topic.

    >>> value_key("user_id:u1", "aov_90d")
    b'user_id:u1|aov_90d'
    """
    return f"{profile_id}|{indicator}".encode()


def encode_value(value: IndicatorValue) -> bytes | None:
    """Encode a value as it is published: flat JSON, or a tombstone for a missing value."""
    return None if value.value is None else _encoder.encode(value)


def line_of(value: IndicatorValue) -> bytes:
    """Encode a value for a file: as it is published, with null for a missing value."""
    return _encoder.encode(value)


def decode_value(data: bytes) -> IndicatorValue:
    """Decode a published value. Raises msgspec.DecodeError for an invalid record."""
    return _decoder.decode(data)
