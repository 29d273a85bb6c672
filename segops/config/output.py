"""Settings of output topics: memberships in a form that other systems take."""

from __future__ import annotations

from typing import Final, Literal

from segops.config.base import SettingsSection, setting
from segops.config.types import MAX_PORT

#: The format of the membership topics themselves.
OWN_FORMAT: Final = "json"


class OutputSettings(SettingsSection):
    """`segops output`."""

    format: Literal["json", "connect-json", "avro", "segment", "cloudevents"] = setting(
        "OUTPUT_FORMAT",
        OWN_FORMAT,
        "Form of the topics that `segops output` writes: connect-json, avro, segment or cloudevents; with "
        "json, consumers read the membership topics themselves.",
    )
    exits: Literal["rows", "tombstones"] = setting(
        "OUTPUT_EXITS",
        "rows",
        "What the latest membership becomes when a profile leaves: a row with member=false (rows), or no row "
        "(tombstones).",
    )
    web_port: int = setting(
        "OUTPUT_WEB_PORT",
        6076,
        "Port of the HTTP server of `segops output`, on SEGOPS_WEB_HOST.",
        ge=0,
        le=MAX_PORT,
    )
