"""Child processes: what they said last, and what they leave."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from segops.brokers import BrokerUnavailable
from segops.brokers.folder import lock_folder
from segops.core.errors import SegopsError
from segops.processes.child import Child


def child(*words: str, log: Path, lock: int | None = None) -> Child:
    return Child(*words, environment={}, log=log, lock=lock)


def test_last_words_are_the_message_of_the_error_and_not_of_a_former_run(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("2026-11-27 00:44:50,008 INFO segops: a former run\nits error\n")
    with child("check", "nowhere.yaml", log=log) as process:
        process.wait()
    assert process.status == 2
    assert process.last_words().splitlines()[-1] == "nowhere.yaml: no such file or folder"
    assert "its error" not in process.last_words()
    with pytest.raises(SegopsError, match="segops check exited with status 2"):
        process.check()


def test_last_words_of_one_that_logs_are_the_text_of_its_last_record(tmp_path: Path) -> None:
    with child("version", log=tmp_path / "log") as process:
        process.wait()
    (tmp_path / "log").write_text("2026-11-27 00:44:50,008 CRITICAL segops.worker: worker stopped: why\n")
    process._log_from = 0
    assert process.last_words() == "worker stopped: why"


def test_last_words_of_a_killed_one_name_the_signal(tmp_path: Path) -> None:
    with child("broker", "--kind", "embedded", "--data-dir", str(tmp_path), log=tmp_path / "log") as process:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.last_words() == "killed by signal 9"


def test_a_folder_stays_locked_while_a_child_that_inherited_the_lock_lives(tmp_path: Path) -> None:
    lock = lock_folder(tmp_path / "data")
    os.mkfifo(tmp_path / "events.jsonl")  # the child waits for a writer that never comes
    with child("check", str(tmp_path / "events.jsonl"), log=tmp_path / "log", lock=lock) as process:
        os.close(lock)
        with pytest.raises(BrokerUnavailable):
            os.close(lock_folder(tmp_path / "data"))
        assert not process.ended()
    os.close(lock_folder(tmp_path / "data"))
