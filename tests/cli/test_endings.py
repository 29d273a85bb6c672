"""How commands end for external reasons: a full disk, a closed pipe, Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import TextIO

import click
import pytest

from segops.cli._ending import ending
from segops.core.errors import SegopsError, UserError
from tests import command
from tests.cli.test_mistakes import EVENT, SEGMENTS
from tests.conftest import NOWHERE
from tests.rest import few_of
from tests.streaming.helpers import wait_until

#: Commands that print without Kafka.
PRINTERS: dict[str, list[str]] = {
    "check": ["check", "good.yaml"],
    "check-cost": ["check", "--cost", "good.yaml"],
    "explain": ["explain", "--segments", "good.yaml", "--events", "good.jsonl", "--profile", "user_id:u"],
    "help": ["--help"],
    "help-of-one": ["replay", "--help"],
    "replay": ["replay", "--segments", "good.yaml", "--events", "good.jsonl"],
    "replay-table": ["replay", "--segments", "good.yaml", "--events", "good.jsonl", "--format", "table"],
    "schema": ["schema"],
    "version": ["version"],
}
#: Commands that wait for a silent server or for standard input.
WAITERS: dict[str, list[str]] = {
    "alerts": ["alerts", "--watch"],
    "apply": ["apply", "good.yaml"],
    "demo": ["demo", "--limit", "1", "--broker", "own"],
    "erase": ["erase", "--profile", "user_id:u"],
    "produce": ["produce", "good.jsonl"],
    "population": ["population", "--watch"],
    "profile": ["profile", "user_id:u", "--url", "http://SERVER"],
    "sizes": ["sizes", "--watch"],
    "split": ["split", "anonymous_id:a"],
    "topics": ["topics", "create"],
    "watch": ["watch"],
    "worker": ["worker"],
    "worker-processes": ["worker", "--processes", "2"],
}
READERS: dict[str, list[str]] = {
    "explain": ["explain", "--segments", "good.yaml", "--events", "-", "--profile", "user_id:u"],
    "produce": ["produce", "-"],
    "replay": ["replay", "--segments", "good.yaml", "--events", "-"],
}
NO_HOST = "no-such-host.invalid:9092"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.yaml").write_text(SEGMENTS)
    (tmp_path / "good.jsonl").write_text(EVENT)
    return tmp_path


def bare() -> dict[str, str]:
    """Return a user's environment: buffered output, no settings, and no broker at its address."""
    nowhere = {"SEGOPS_KAFKA_BOOTSTRAP_SERVERS": NOWHERE}
    ours = ("SEGOPS_", "PYTHONUNBUFFERED")
    return nowhere | {key: value for key, value in os.environ.items() if not key.startswith(ours)}


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this process the folder and the environment that ``start`` gives to a child process."""
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("SEGOPS_")]:
        monkeypatch.delenv(name)
    for name, value in bare().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SEGOPS_DATA_DIR", str(folder / "data"))


def abandoned_pipe() -> int:
    """Provide the write end of a pipe whose reader has closed."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def start(
    folder: Path, words: list[str], *, out: int = subprocess.PIPE, **variables: str
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "segops", *words],
        cwd=folder,
        env=bare() | {"SEGOPS_DATA_DIR": str(folder / "data")} | variables,
        stdin=subprocess.PIPE,
        stdout=out,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=command.interruptible,
    )


#: Run in a child process each, to see the interpreter's own output at exit: click's help, a line, a table.
ENDED = ["help", "version", "check-cost"]
IN_PROCESS = sorted({*PRINTERS} - {*ENDED})
full_disk = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")


@full_disk
@pytest.mark.parametrize("name", ENDED)
def test_a_full_disk_is_reported(folder: Path, name: str) -> None:
    with open("/dev/full", "wb") as full, start(folder, PRINTERS[name], out=full.fileno()) as process:
        _, err = process.communicate(timeout=60)
    assert_full(process.returncode, err.decode())


@full_disk
@pytest.mark.parametrize("name", IN_PROCESS)
def test_a_full_disk_is_reported_in_process(here: None, name: str) -> None:
    with open("/dev/full", "w") as full, StringIO() as err:
        assert_full(command.call_with(StringIO(), full, err, *PRINTERS[name]), err.getvalue())


def assert_full(status: int, err: str) -> None:
    assert status == 1
    assert err.startswith("segops failed: ")
    assert err.endswith("No space left on device\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ENDED)
def test_a_closed_pipe_ends_the_command_silently(folder: Path, name: str) -> None:
    with start(folder, PRINTERS[name], out=abandoned_pipe()) as process:
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1 if name == "help" else 128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize("name", IN_PROCESS)
def test_a_closed_pipe_ends_the_command_silently_in_process(here: None, name: str) -> None:
    with open(abandoned_pipe(), "w") as out, StringIO() as err:
        status = command.call_with(StringIO(), out, err, *PRINTERS[name])
        assert (status, err.getvalue()) == (128 + signal.SIGPIPE, "")


STREAMS = {"<&-": "stdin", ">&-": "stdout", "2>&-": "stderr"}
CLOSED = {**PRINTERS, **READERS, "mistake": ["check", "nowhere"]}
closed_by = pytest.mark.parametrize("name", ["version", "replay", "check-cost", "produce", "mistake"])


def status_of_closed(name: str) -> int:
    return 2 if name in ("mistake", "produce") else 0  # an unknown host name is not waited for


@closed_by
def test_closed_standard_streams_act_as_empty(folder: Path, name: str) -> None:
    shell = ["bash", "-c", f'exec "$@" {" ".join(STREAMS)}', "bash", sys.executable, "-m", "segops"]
    environment = bare() | {"SEGOPS_KAFKA_BOOTSTRAP_SERVERS": NO_HOST}
    done = subprocess.run(
        [*shell, *CLOSED[name]], cwd=folder, env=environment, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, b"fault" in done.stderr) == (status_of_closed(name), False)


@pytest.mark.parametrize("stream", STREAMS.values())
@closed_by
def test_a_closed_standard_stream_acts_as_empty_in_process(
    here: None, monkeypatch: pytest.MonkeyPatch, name: str, stream: str
) -> None:
    monkeypatch.setenv("SEGOPS_KAFKA_BOOTSTRAP_SERVERS", NO_HOST)
    with TextIOWrapper(BytesIO()) as empty, StringIO() as out, StringIO() as err:
        streams: dict[str, TextIO | None] = {"stdin": empty, "stdout": out, "stderr": err}
        status = command.call_with(*(streams | {stream: None}).values(), *CLOSED[name])
        assert (status, "fault" in err.getvalue()) == (status_of_closed(name), False)


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        yield server


@pytest.mark.parametrize("name", few_of(sorted(WAITERS)))
def test_ctrl_c_ends_commands_that_wait_for_a_server(folder: Path, silent: socket.socket, name: str) -> None:
    address = f"127.0.0.1:{silent.getsockname()[1]}"
    words = [word.replace("SERVER", address) for word in WAITERS[name]]
    with ExitStack() as connections:
        process = connections.enter_context(start(folder, words, SEGOPS_KAFKA_BOOTSTRAP_SERVERS=address))
        connections.enter_context(silent.accept()[0])  # the command has connected and waits
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, err = process.communicate(timeout=60)
    assert b"Traceback" not in err
    assert process.returncode in (130, 0)  # a worker shuts down gracefully


@pytest.mark.parametrize("name", READERS)
def test_ctrl_c_ends_commands_that_read_standard_input(folder: Path, name: str) -> None:
    with start(folder, READERS[name]) as process:
        assert process.stdin is not None
        wait_until(lambda: process.poll() is not None or _reads(process.pid), "it reads")
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert b"Traceback" not in err
    assert process.returncode == 130


def _reads(pid: int) -> bool:
    """Tell whether a thread of the process is blocked in a read of a pipe."""
    return any("pipe_read" in _waits_in(task) for task in Path(f"/proc/{pid}/task").iterdir())


def _waits_in(task: Path) -> str:
    try:
        return (task / "wchan").read_text()
    except OSError:  # the thread ended after it was listed
        return ""


#: The exception, the status, and the message.
ENDINGS: list[tuple[BaseException, int, str]] = [
    (UserError("a.yaml: line 3: no"), 2, "a.yaml: line 3: no"),
    (SegopsError("the broker is gone"), 1, "segops failed: the broker is gone"),
    (KeyboardInterrupt(), 130, ""),
    (click.Abort(), 130, ""),
    (click.exceptions.Exit(3), 3, ""),
    (click.UsageError("no such option"), 2, "Error: no such option"),
    (BrokenPipeError(32, "Broken pipe"), 141, ""),
    (FileNotFoundError(2, "No such file or directory", "x.yaml"), 2, "x.yaml: No such file or directory"),
    (PermissionError(13, "Permission denied", b"x\xff"), 2, "x\udcff: Permission denied"),
    (
        OSError(28, "No space left on device", "x"),
        1,
        "segops failed: [Errno 28] No space left on device: 'x'",
    ),
    (ConnectionResetError(104, "reset"), 1, "segops failed: [Errno 104] reset"),
    (MemoryError(), 1, "segops failed: MemoryError: ; this is a bug in segops"),
    (KeyError("x"), 1, "segops failed: KeyError: 'x'; this is a bug in segops"),
]


@pytest.mark.parametrize(("error", "status", "words"), ENDINGS, ids=lambda value: repr(value)[:40])
def test_every_error_has_a_status_and_a_message(error: BaseException, status: int, words: str) -> None:
    found, message = ending(error)
    assert found == status
    assert message.startswith(words) if words else message == ""
