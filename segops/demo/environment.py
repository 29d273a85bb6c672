"""The settings and files of the demo and its processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from segops import config
from segops.brokers import LocalBroker
from segops.config import Settings
from segops.core.audiences.compiling import definition_of
from segops.core.audiences.model import Audience
from segops.core.segments import Definition
from segops.demo import klaviyo, receiver
from segops.demo.options import Options
from segops.schemas.segments import load, load_drafts

#: The example segments, and the files that take their places, or are new, half-way.
SEGMENTS = Path(__file__).with_name("segments")
HALF_WAY = Path(__file__).with_name("half-way")
#: Segments that are new half-way, too, and read scores of the model of buying.
PREDICTED = Path(__file__).with_name("predicted")
#: An audience of one of them, and its key.
_AUDIENCES = Path(__file__).with_name("audiences") / "vip-offer.yaml"
AUDIENCE = "vip-offer"
#: The secrets of its destinations, which listen on loopback for the time of a run.
SECRETS: Mapping[str, str] = {
    "SHOP_SECRET": receiver.SECRET,
    "KLAVIYO_PRIVATE_KEY": klaviyo.KEY,
    "SEGOPS_WEBHOOK_ALLOW": "127.0.0.1",
}
#: Of the people, so many may enter the audience before the breaker holds it.
_ENTRIES_SHARE = 20
#: Of the collector, which listens on loopback for the time of a run.
WRITE_KEY = "wk-demo-0000"


@dataclass(frozen=True)
class Environment:
    """Settings and files of a run. ``variables`` configure other ``segops`` processes for it."""

    folder: Path
    settings: Settings
    variables: Mapping[str, str]
    definitions: list[Definition]
    audience: Audience
    #: Of the webhook, of Klaviyo's stand-in, and of the pages of the process that delivers.
    delivery_ports: tuple[int, int, int]
    #: Whether a model is fitted, and ``PREDICTED`` published.
    predicts: bool

    @property
    def all_definitions(self) -> list[Definition]:
        """Those of the segments and of the audience."""
        return [*self.definitions, definition_of(self.audience, self.settings.audiences.consents)]

    @property
    def entries_at_most(self) -> int:
        """How many may enter the audience before the breaker holds it."""
        entries = self.audience.limits.entries
        return 0 if entries is None else entries.at_most

    @property
    def audiences_file(self) -> Path:
        """The file of the audience."""
        return self.folder / "audiences.yaml"

    @property
    def orders_file(self) -> Path:
        """All orders, as a table."""
        return self.folder / "orders.csv"

    @property
    def model_file(self) -> Path:
        """The model of buying that is fitted on the orders of the first half."""
        return self.folder / "buying.json"

    @property
    def later_folders(self) -> list[Path]:
        """The folders of what is published half-way."""
        return [HALF_WAY, PREDICTED] if self.predicts else [HALF_WAY]

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


def make_environment(
    options: Options,
    folder: Path,
    broker: LocalBroker,
    *,
    people: int,
    ports: Sequence[int],
    predicts: bool,
) -> Environment:
    """Return the settings for this broker; on a user's own broker, with uniquely named topics.

    ``ports``: of the first worker's pages, and the three of the delivery.
    """
    web, *delivery = ports
    overrides = _overrides(options, folder, broker, web)
    file = folder / "audiences.yaml"
    limit = max(1, people // _ENTRIES_SHARE)
    file.write_text(_AUDIENCES.read_text("utf-8").replace("at_most: 800", f"at_most: {limit}"), "utf-8")
    (audience,) = load_drafts([file]).audiences
    hook, klaviyo, pages = delivery
    settings, variables = config.load(**overrides), {**config.as_variables(overrides), **SECRETS}
    definitions, delivery_ports = load([SEGMENTS]), (hook, klaviyo, pages)
    return Environment(folder, settings, variables, definitions, audience, delivery_ports, predicts)


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
        "audiences": {"actor": "demo"},
        "state": {"data_dir": str(folder / "worker")},
        "worker": {"app_id": name, "instance_id": "demo", "web_host": "127.0.0.1", "web_port": web_port},
    }
