"""The broker of the noida-db wheel: one native process, for machines with only Python."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from importlib import metadata, util
from importlib.resources import files
from pathlib import Path

from segops.brokers.base import BrokerRequest, LocalBroker
from segops.brokers.folder import start_in
from segops.brokers.network import reserve_ports
from segops.brokers.process import ProcessNode, start_all, stop_all

#: The broker's cluster id, the same on every machine, by which a client recognizes it.
CLUSTER_ID = "MkU3OEVBNTctOEUyRi00"


class Embedded:
    """A broker for one worker, never for production: it does not expire dead members from a group."""

    name = "embedded"

    def obstacle(self, request: BrokerRequest) -> str | None:
        if request.brokers != 1:
            return "it supports one broker only"
        if util.find_spec("noida_db") is None:
            return "the noida-db package is not installed (extra 'embedded')"
        return None

    def start(self, request: BrokerRequest) -> LocalBroker:
        return start_in(request, self.name, partial(self._start, request))

    def _start(self, request: BrokerRequest, lock: int) -> LocalBroker:
        folder = request.data_dir.resolve() / self.name
        with ExitStack() as undo:
            (port,) = undo.enter_context(reserve_ports(1, request.port))
            node = ProcessNode(_command(port, folder), port, folder, log=folder / "broker.log", lock=lock)
            start_all([node])
            ports = undo.pop_all()
        return LocalBroker(
            kind=self.name,
            name=f"noida-db {metadata.version('noida-db')} (embedded)",
            bootstrap_servers=node.address,
            nodes=(node,),
            on_stop=[lambda: stop_all([node]), ports.close],
        )


def _command(port: int, folder: Path) -> list[str]:
    # Run the program itself: its Python wrapper does not forward SIGTERM.
    program = Path(str(files("noida_db"))) / "noida-db"
    program.chmod(0o755)
    serve = [str(program), "start", "--only", "kafka"]
    return [*serve, "--kafka-port", str(port), "--data-dir", str(folder / "data")]
