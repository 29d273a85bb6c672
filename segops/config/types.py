"""Types of setting values: their notation, and the values they reject."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from segops.core.identifiers import EMAIL_SOURCES, USER
from segops.core.values import parse_duration


def duration_ms(text: object) -> object:
    """Convert a duration such as ``5m`` to milliseconds; return anything else unchanged."""
    if text == "0":
        return 0
    return parse_duration(text) if isinstance(text, str) else text


def _kafka_name(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9._-]{1,150}", text) is None:
        raise ValueError("must consist of at most 150 letters, digits, '.', '_' and '-'")
    return text


def _addresses(text: str) -> str:
    addresses = [address.strip() for address in text.split(",")]
    for address in addresses:
        found = _ADDRESS.fullmatch(address)
        if found is None:
            raise ValueError("expected host:port pairs separated by commas")
        if not 0 < int(found["port"]) <= MAX_PORT:
            raise ValueError(f"expected a port from 1 to {MAX_PORT}")
    return ",".join(addresses)


def _zone(text: str) -> str:
    try:
        return ZoneInfo(text).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("unknown time zone (e.g. Europe/Paris)") from None


def _host(text: str) -> str:
    if _HOST.fullmatch(text) is None:
        raise ValueError("invalid host name or address")
    return text


def _token(text: SecretStr) -> SecretStr:
    if re.fullmatch(r"[\x21-\x7e]+", text.get_secret_value()) is None:
        raise ValueError("must consist of visible ASCII characters: no spaces, no line breaks")
    return text


def _priority(text: str) -> str:
    names = text.split(",")
    if names[0] != USER or len(set(names)) < len(names) or not all(_TYPE.fullmatch(each) for each in names):
        raise ValueError(f"expected distinct types separated by commas, beginning with {USER}")
    return text


def _limits(text: str) -> str:
    pairs = [each.partition("=") for each in text.split(",")]
    if not all(_TYPE.fullmatch(kind) and limit.isdecimal() for kind, _, limit in pairs):
        raise ValueError("expected type=number pairs separated by commas")
    return text


def _sources(text: str) -> str:
    names = [each.strip() for each in text.split(",")]
    if len(set(names)) < len(names) or not set(names) <= set(EMAIL_SOURCES):
        raise ValueError(f"expected distinct names of {', '.join(EMAIL_SOURCES)}, separated by commas")
    return ",".join(each for each in EMAIL_SOURCES if each in names)


def _web_address(text: str) -> str:
    if _WEB_ADDRESS.fullmatch(text) is None:
        raise ValueError("expected an address such as https://host or http://host:port/path")
    return text.rstrip("/")


def _web_origin(text: str) -> str:
    if _WEB_ORIGIN.fullmatch(text) is None:
        raise ValueError("expected an address without a path, such as https://host or http://host:port")
    return text.lower().rstrip("/")


def _networks(text: str) -> str:
    for each in filter(None, text.split(",")):
        try:
            ip_network(each.strip())
        except ValueError:
            raise ValueError("expected addresses or networks separated by commas") from None
    return text


MAX_PORT = 65_535
_NAME = r"[^\s:/.\[\]\x00-\x20\x7f]{1,63}"
_ADDRESS = re.compile(rf"(\[[0-9a-fA-F:]+\]|{_NAME}(\.{_NAME})*\.?):(?P<port>\d{{1,5}})", re.ASCII)
_WEB_HOST = rf"https?://(\[[0-9a-fA-F:]+\]|{_NAME}(\.{_NAME})*)(:\d{{1,5}})?"
_WEB_ORIGIN = re.compile(rf"{_WEB_HOST}/?", re.ASCII)
_WEB_ADDRESS = re.compile(rf"{_WEB_HOST}(/[\w.~/-]*)?", re.ASCII)
_HOST = re.compile(rf"[0-9a-fA-F:]*:[0-9a-fA-F:.]*(%\w+)?|{_NAME}(\.{_NAME})*\.?")
_TYPE = re.compile(r"\*|[A-Za-z0-9_.-]{1,64}")

DurationMs = Annotated[int, BeforeValidator(duration_ms), Field(ge=0)]
PositiveDurationMs = Annotated[int, BeforeValidator(duration_ms), Field(gt=0)]
KafkaName = Annotated[str, AfterValidator(_kafka_name)]
SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
Priority = Annotated[str, AfterValidator(_priority)]
Limits = Annotated[str, AfterValidator(_limits)]
EmailSources = Annotated[str, AfterValidator(_sources)]
Addresses = Annotated[str, AfterValidator(_addresses)]
Host = Annotated[str, AfterValidator(_host)]
Zone = Annotated[str, AfterValidator(_zone)]
Token = Annotated[SecretStr, AfterValidator(_token)]
WebOrigin = Annotated[str, AfterValidator(_web_origin)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
Networks = Annotated[str, AfterValidator(_networks)]
