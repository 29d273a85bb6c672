"""The contestants: how each is started, what it omits, and how its output is decoded."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from segops.brokers.java import find_java

from . import environments
from .reference import Change

APPS = Path(__file__).parent / "apps"


@dataclass(frozen=True)
class Run:
    """The environment of one run. ``prefix`` begins the names of all topics of its round."""

    servers: str
    prefix: str
    name: str
    partitions: int
    folder: Path
    web_port: int

    @property
    def input(self) -> str:
        """The topic with the events, shared by a round."""
        return f"{self.prefix}events"


class _PeerChange(msgspec.Struct):
    profile_id: str
    segment: str
    action: str
    at: int


class _SegopsChange(msgspec.Struct):
    profile_id: str
    segment_key: str
    action: str
    occurred_at: int


_peer = msgspec.json.Decoder(_PeerChange)
_segops = msgspec.json.Decoder(_SegopsChange)


def _peer_change(value: bytes) -> Change:
    read = _peer.decode(value)
    return Change(read.profile_id, read.segment, read.action, read.at)


def _segops_change(value: bytes) -> Change:
    read = _segops.decode(value)
    return Change(read.profile_id.removeprefix("user_id:"), read.segment_key, read.action, read.occurred_at)


@dataclass(frozen=True)
class Contestant:
    """One system. ``timed``: it also publishes changes by time alone; ``left_out``: what it omits."""

    name: str
    title: str
    command: Callable[[Run], Sequence[str]]
    environment: Callable[[Run], Mapping[str, str]]
    timed: bool = False
    left_out: str = ""
    #: Installs what the program needs, once. Raises environments.Unavailable.
    provide: Callable[[], object] = lambda: None
    change: Callable[[bytes], Change] = _peer_change
    output: Callable[[Run], str] = lambda run: f"{run.prefix}{run.name}.changes"
    output_partitions: int | None = None
    #: It takes as long as all others together and runs in the first round only.
    slow: bool = False
    #: The share of events that is not measured: imports, rebalance, first compilation.
    warm_up: float = 0.1


def _peer_environment(run: Run) -> dict[str, str]:
    return {
        "PEER_BROKERS": run.servers,
        "PEER_NAME": f"{run.prefix}{run.name}",
        "PEER_INPUT": run.input,
        "PEER_OUTPUT": f"{run.prefix}{run.name}.changes",
        "PEER_PARTITIONS": str(run.partitions),
        "PYTHONPATH": str(APPS),
    }


def segops_environment(run: Run) -> dict[str, str]:
    """Return the settings of a worker: the documented defaults except names and the clock."""
    return {
        "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": run.servers,
        "SEGOPS_TOPIC_PREFIX": run.prefix,
        "SEGOPS_PARTITIONS": str(run.partitions),
        "SEGOPS_RETENTION": "3650d",
        "SEGOPS_CLOCK": "event",
        "SEGOPS_APP_ID": f"{run.prefix}{run.name}",
        "SEGOPS_DATA_DIR": str(run.folder / "data"),
        "SEGOPS_WEB_PORT": str(run.web_port),
        # Programs run in their own folders: a relative path would not lead to this checkout.
        "PYTHONPATH": str(environments.ROOT),
    }


def segops_command(*options: str) -> list[str]:
    """Return the command of a worker from this checkout."""
    return [sys.executable, "-c", "from segops.cli import main; main()", "worker", *options]


def _faust(run: Run) -> list[str]:
    options = ["-A", "faust_app", "-L", "uvloop", "--datadir", str(run.folder / "data")]
    return [
        str(environments.python("faust")),
        *("-m", "faust", *options, "worker", "-l", "warn", "--web-port", str(run.web_port)),
    ]


def _bytewax(run: Run) -> list[str]:
    # The recovery partitions must exist before the flow starts.
    script = (
        "import bytewax.recovery as r, pathlib, runpy, sys;"
        "pathlib.Path('recovery').mkdir(exist_ok=True); r.init_db_dir(pathlib.Path('recovery'), 4);"
        "sys.argv = ['bytewax.run', 'bytewax_flow:flow', '-r', 'recovery', '-s', '10', '-b', '0'];"
        "runpy.run_module('bytewax.run', run_name='__main__')"
    )
    return [str(environments.python("bytewax")), "-c", script]


def _kafka_streams(run: Run) -> list[str]:
    java = find_java()
    if java is None:
        raise environments.Unavailable("no Java")
    return [java, "-Xmx1g", "-cp", f"{environments.jars('kafka_streams')}/*", "peers.Main"]


_NO_TIME = "changes by time alone"

CONTESTANTS: Mapping[str, Contestant] = {
    made.name: made
    for made in (
        Contestant(
            "segops",
            "segops",
            lambda run: segops_command(),
            segops_environment,
            timed=True,
            change=_segops_change,
            output=lambda run: f"{run.prefix}membership.changes",
        ),
        Contestant(
            "faust",
            "Faust 0.15.3",
            _faust,
            _peer_environment,
            left_out=_NO_TIME,
            provide=lambda: environments.python("faust"),
            slow=True,
        ),
        Contestant(
            "quix",
            "Quix Streams 3.28.1",
            lambda run: [str(environments.python("quix")), str(APPS / "quix_app.py")],
            _peer_environment,
            left_out=_NO_TIME,
            provide=lambda: environments.python("quix"),
        ),
        Contestant(
            "bytewax",
            "Bytewax 0.21.1",
            _bytewax,
            _peer_environment,
            left_out=f"{_NO_TIME}; a changelog on Kafka (snapshots in SQLite instead)",
            provide=lambda: environments.python("bytewax"),
        ),
        Contestant(
            "kafka_streams",
            "Kafka Streams 4.3.1",
            _kafka_streams,
            _peer_environment,
            timed=True,
            provide=lambda: environments.jars("kafka_streams"),
        ),
        Contestant(
            "pyflink",
            "PyFlink 2.3.0",
            lambda run: [str(environments.python("pyflink")), str(APPS / "pyflink_job.py")],
            lambda run: {
                **_peer_environment(run),
                "PEER_JARS": str(environments.jars("pyflink_jars")),
                # Flink finds the interpreter of its worker processes by PATH.
                "PATH": f"{environments.python('pyflink').parent}{os.pathsep}{os.environ['PATH']}",
            },
            timed=True,
            left_out="a changelog on Kafka (checkpoints in files instead)",
            provide=lambda: (environments.python("pyflink"), environments.jars("pyflink_jars")),
            output_partitions=1,
            slow=True,
        ),
    )
}
