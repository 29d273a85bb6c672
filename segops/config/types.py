"""How the values of settings are written, and which are refused."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from segops.core.identifiers import USER
from segops.core.values import parse_duration


def duration_ms(text: object) -> object:
    """A duration as written, in milliseconds; anything else as it is."""
    if text == "0":
        return 0
    return parse_duration(text) if isinstance(text, str) else text


def _kafka_name(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9._-]{1,150}", text) is None:
        raise ValueError("may hold letters, digits, '.', '_' and '-' only (150 at most)")
    return text


def _addresses(text: str) -> str:
    addresses = [address.strip() for address in text.split(",")]
    if not all(re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^\s:/]+):\d{1,5}", address) for address in addresses):
        raise ValueError("is no list of host:port, separated by commas")
    return ",".join(addresses)


def _priority(text: str) -> str:
    names = text.split(",")
    if names[0] != USER or len(set(names)) < len(names) or not all(_TYPE.fullmatch(each) for each in names):
        raise ValueError(f"is no list of different types, separated by commas, that begins with {USER}")
    return text


def _limits(text: str) -> str:
    pairs = [each.partition("=") for each in text.split(",")]
    if not all(_TYPE.fullmatch(kind) and limit.isdecimal() for kind, _, limit in pairs):
        raise ValueError("is no list of type=number, separated by commas")
    return text


_TYPE = re.compile(r"\*|[A-Za-z0-9_.-]{1,64}")

DurationMs = Annotated[int, BeforeValidator(duration_ms), Field(ge=0)]
PositiveDurationMs = Annotated[int, BeforeValidator(duration_ms), Field(gt=0)]
KafkaName = Annotated[str, AfterValidator(_kafka_name)]
SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
Priority = Annotated[str, AfterValidator(_priority)]
Limits = Annotated[str, AfterValidator(_limits)]
Addresses = Annotated[str, AfterValidator(_addresses)]
