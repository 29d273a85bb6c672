"""The settings that the demo and its processes run with, and where its files are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from segops import config
from segops.brokers import LocalBroker
from segops.config import Settings
from segops.core.segments import Definition
from segops.demo.options import Options
from segops.schemas.segments import load

#: The segments that are shipped as examples.
SEGMENTS = Path(__file__).with_name("segments")


@dataclass(frozen=True)
class Environment:
    """``environment`` makes another ``segops`` process mean the same broker and topics."""

    folder: Path
    settings: Settings
    environment: Mapping[str, str]
    definitions: list[Definition]

    @property
    def events_file(self) -> Path:
        """The input as JSON lines."""
        return self.folder / "events.jsonl"

    @property
    def expected_file(self) -> Path:
        """What ``segops replay`` makes of the input."""
        return self.folder / "expected.jsonl"


def set_stage(options: Options, folder: Path, broker: LocalBroker, *, web_port: int) -> Environment:
    """Settings for this broker: on a user's own, topics of a name that nobody else has."""
    overrides = _overrides(options, folder, broker, web_port)
    settings = config.load(**overrides)
    return Environment(folder, settings, _environment(settings, overrides), load([SEGMENTS]))


def _overrides(
    options: Options, folder: Path, broker: LocalBroker, web_port: int
) -> dict[str, dict[str, object]]:
    own = broker.kind == "own"
    name = f"segops-demo-{uuid4().hex[:8]}" if own else "segops"
    kafka: dict[str, object] = {"bootstrap_servers": broker.bootstrap_servers}
    topics: dict[str, object] = {"prefix": f"{name}.", "partitions": options.partitions}
    if not own:
        kafka |= {"security_protocol": "PLAINTEXT"}
        topics |= {"replication": 1}
    return {
        "kafka": kafka,
        "topics": topics,
        # Time moves by events and by the ticks at the end alone: however slow the machine, none is late.
        "engine": {"clock": "event", "idle_source_ms": "0"},
        "state": {"data_dir": str(folder / "worker")},
        "worker": {"app_id": name, "instance_id": "demo", "web_host": "127.0.0.1", "web_port": web_port},
    }


def _environment(settings: Settings, overrides: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    return {
        config.variable_of(type(getattr(settings, part)), field): str(value)
        for part, fields in overrides.items()
        for field, value in fields.items()
    }
