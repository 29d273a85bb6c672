"""The settings and files of the demo and its processes."""

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

#: The example segments, and the files that take their places, or are new, half-way.
SEGMENTS = Path(__file__).with_name("segments")
HALF_WAY = Path(__file__).with_name("half-way")
#: Of the collector, which listens on loopback for the time of a run.
WRITE_KEY = "wk-demo-0000"


@dataclass(frozen=True)
class Environment:
    """Settings and files of a run. ``variables`` configure other ``segops`` processes for it."""

    folder: Path
    settings: Settings
    variables: Mapping[str, str]
    definitions: list[Definition]

    @property
    def segments_folder(self) -> Path:
        """The folder of segment files, as its user edits it."""
        return self.folder / "segments"

    @property
    def events_file(self) -> Path:
        """The input as JSON lines."""
        return self.folder / "events.jsonl"

    @property
    def expected_file(self) -> Path:
        """The output of ``segops replay`` for the input."""
        return self.folder / "expected.jsonl"


def make_environment(options: Options, folder: Path, broker: LocalBroker, *, web_port: int) -> Environment:
    """Return the settings for this broker; on a user's own broker, with uniquely named topics."""
    overrides = _overrides(options, folder, broker, web_port)
    settings = config.load(**overrides)
    return Environment(folder, settings, config.as_variables(overrides), load([SEGMENTS]))


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
        # Only events and the final ticks advance time, so no event is late on a slow machine.
        "engine": {"clock": "event", "idle_source_ms": "0"},
        "state": {"data_dir": str(folder / "worker")},
        "worker": {"app_id": name, "instance_id": "demo", "web_host": "127.0.0.1", "web_port": web_port},
    }
