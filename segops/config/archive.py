"""Settings of the archive: where it is, and when its files are written and compacted."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field

from segops.config.base import SettingsSection, setting
from segops.config.types import MAX_PORT, PositiveDurationMs, duration_ms

_URL = re.compile(r"file:///[^?#]+|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^?#]*)?")
_ENDPOINT = re.compile(r"(https?://)?[^\s/:@]+(:\d{1,5})?")


def _url(text: str) -> str:
    if _URL.fullmatch(text) is None:
        raise ValueError("expected file:///folder or s3://bucket/prefix")
    return text


def _endpoint(text: str) -> str:
    if _ENDPOINT.fullmatch(text) is None:
        raise ValueError("expected host:port or http://host:port, without a path or credentials")
    return text


class ArchiveSettings(SettingsSection):
    """The archive of profile events and membership changes."""

    url: Annotated[str, AfterValidator(_url)] | None = setting(
        "ARCHIVE_URL",
        None,
        "Folder (file:///…) or S3-compatible storage (s3://bucket/prefix) of the archive.",
    )
    s3_endpoint: Annotated[str, AfterValidator(_endpoint)] | None = setting(
        "ARCHIVE_S3_ENDPOINT", None, "Address of S3-compatible storage; that of AWS when empty."
    )
    s3_region: str | None = setting(
        "ARCHIVE_S3_REGION", None, "Region of the bucket; found by the client when empty."
    )
    file_bytes: ByteSize = setting(
        "ARCHIVE_FILE_BYTES", "64MiB", "Size of a partition's records after which they are written.", ge=1
    )
    file_interval_ms: PositiveDurationMs = setting(
        "ARCHIVE_FILE_INTERVAL", "5m", "Time after which the records of a partition are written."
    )
    buffer_bytes: ByteSize = setting(
        "ARCHIVE_BUFFER_BYTES",
        "256MiB",
        "Size of all records in memory after which the largest partition is written.",
        ge=1,
    )
    compact_bytes: ByteSize = setting(
        "ARCHIVE_COMPACT_BYTES", "256MiB", "Size up to which the files of a day are merged.", ge=1
    )
    upkeep_interval_ms: Annotated[int, BeforeValidator(duration_ms), Field(ge=100)] = setting(
        "ARCHIVE_UPKEEP_INTERVAL", "15m", "Time between passes that apply erasures and merge small files."
    )
    web_port: int = setting(
        "ARCHIVE_WEB_PORT", 6070, "Port of the archive's HTTP server, on SEGOPS_WEB_HOST.", ge=0, le=MAX_PORT
    )
