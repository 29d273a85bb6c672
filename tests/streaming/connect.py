"""A worker of Kafka Connect with Debezium's JDBC sink, and the PostgreSQL that it writes to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from segops.brokers.java import fetch_jars, find_java

from .helpers import wait_until

CONNECT = Path(__file__).parents[2] / "deploy/connect"
_JVM = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true")
_LOGGING = """\
rootLogger.level = INFO
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %c{1}: %m%n
"""


def require_programs() -> str:
    """Return Java; without it, Maven or PostgreSQL, skip the test, in CI fail."""
    java = find_java()
    lacking = [name for name, found in (("Java", java), ("mvn", shutil.which("mvn"))) if not found]
    lacking += [] if programs_of_postgres() else ["PostgreSQL"]
    if lacking and not os.environ.get("CI"):
        pytest.skip(f"not installed: {', '.join(lacking)}")
    assert java and not lacking, lacking
    return java


def programs_of_postgres() -> Path | None:
    """Return the folder of PostgreSQL's programs, which Debian keeps off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found else None


@dataclass
class Postgres:
    """A server on loopback with the database ``postgres``; anyone on this machine may log in."""

    programs: Path
    folder: Path
    port: int

    @property
    def url(self) -> str:
        """The address for JDBC."""
        return f"jdbc:postgresql://127.0.0.1:{self.port}/postgres"

    def rows(self, query: str) -> list[tuple[str, ...]]:
        """Return the rows of a query. Raises CalledProcessError if it fails."""
        command = [
            "psql",
            "-XAtF",
            "\t",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "postgres",
            "-c",
            query,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [tuple(line.split("\t")) for line in done.stdout.splitlines()]

    def run(self, program: str, *arguments: str) -> None:
        """Run a program of the server, which refuses to be root."""
        as_other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*as_other, str(self.programs / program), "-D", str(self.folder / "data"), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")


@contextmanager
def postgres(port: int) -> Iterator[Postgres]:
    """Run a new server during the block."""
    programs = programs_of_postgres()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="segops-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    server = Postgres(programs, folder, port)
    try:
        server.run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        options = f"-p {port} -h 127.0.0.1 -k {folder} -F"
        server.run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield server
        finally:
            server.run("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


@dataclass
class Connect:
    """A standalone worker with the sink of ``deploy/connect/jdbc-postgresql.json``."""

    java: str
    bootstrap_servers: str
    folder: Path
    port: int
    topic: str
    database: Postgres
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def log(self) -> Path:
        """The log of all its processes."""
        return self.folder / "connect.log"

    def start(self) -> subprocess.Popen[bytes]:
        """Start the worker with what is deployed: only addresses and the topic differ."""
        worker = fetch_jars(self.java, CONNECT / "worker-pom.xml", "connect")
        plugin = fetch_jars(self.java, CONNECT / "jdbc-pom.xml", "jdbc-sink")
        (self.folder / "log4j2.properties").write_text(_LOGGING)
        (self.folder / "plugins").mkdir(exist_ok=True)
        if not (self.folder / "plugins/jdbc").exists():
            (self.folder / "plugins/jdbc").symlink_to(plugin)
        files = [str(self._worker_file()), str(self._connector_file())]
        logging = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}"
        main = ["-cp", f"{worker}/*", "org.apache.kafka.connect.cli.ConnectStandalone"]
        secrets = {"URL": self.database.url, "USERNAME": "postgres", "PASSWORD": "unused"}
        environment = {**os.environ, **{f"SEGOPS_JDBC_{name}": value for name, value in secrets.items()}}
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [self.java, *_JVM, logging, *main, *files], env=environment, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def _worker_file(self) -> Path:
        own = {
            "bootstrap.servers": self.bootstrap_servers,
            "plugin.path": str(self.folder / "plugins"),
            "plugin.discovery": "service_load",  # does not scan every jar for classes
            "listeners": f"http://127.0.0.1:{self.port}",
            "offset.storage.file.filename": str(self.folder / "offsets"),
        }
        lines = (CONNECT / "worker.properties").read_text().splitlines()
        kept = [line for line in lines if line.partition("=")[0] not in own]
        path = self.folder / "worker.properties"
        path.write_text("\n".join([*kept, *(f"{name}={value}" for name, value in own.items())]))
        return path

    def _connector_file(self) -> Path:
        connector = json.loads((CONNECT / "jdbc-postgresql.json").read_text())
        connector["name"] += f"-{self.topic}"  # it names the consumer group
        connector["config"]["topics"] = self.topic
        connector["config"]["consumer.override.session.timeout.ms"] = "6000"  # of a killed worker
        path = self.folder / "connector.json"
        path.write_text(json.dumps(connector))
        return path

    def close(self) -> None:
        """Stop its processes."""
        for process in self.processes:
            process.kill()
            process.wait()

    def table(self) -> list[tuple[str, ...]]:
        """Return profile, segment and membership of each row of the table; none before it exists."""
        if not self.database.rows("select 1 from pg_tables where tablename = 'segops_memberships'"):
            return []
        return self.database.rows("select profile_id, segment_key, member from segops_memberships")

    def types(self) -> set[tuple[str, ...]]:
        """Return name and type of each column of the table."""
        where = "where table_name = 'segops_memberships'"
        query = f"select column_name, data_type from information_schema.columns {where}"
        return set(self.database.rows(query))

    def wait_for_rows(self, count: int) -> None:
        """Wait until the table has so many rows."""
        wait_until(lambda: len(self.table()) >= count, f"{count} rows", self.diagnosis)

    def diagnosis(self) -> str:
        """Return the end of the log."""
        return self.log.read_text()[-4_000:]
