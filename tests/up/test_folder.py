"""The data folder of ``segops up``: one system at a time, one write key."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from segops.collector.sources import load_sources
from segops.config import KafkaSettings, load
from segops.core.errors import UserError
from segops.serve.keys import load_keys
from segops.up.folder import FolderInUse, data_folder
from segops.up.options import Options
from segops.up.status import shell_file
from segops.up.system import broker_for


def test_write_key_is_made_once_for_its_owner_and_the_collector_reads_it(tmp_path: Path) -> None:
    with data_folder(tmp_path / "data") as folder:
        key = folder.write_key()
        file = folder.keys_file
    with data_folder(tmp_path / "data") as folder:
        assert folder.write_key() == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    sources = load_sources(load(collect={"keys_file": str(file)}).collect, now_s=0)
    found = sources.get(key)
    assert found is not None and found.name == "website"


def test_secret_key_is_made_once_for_its_owner_and_the_read_api_reads_it(tmp_path: Path) -> None:
    with data_folder(tmp_path / "data") as folder:
        key = folder.read_key()
        file = folder.read_keys_file
    with data_folder(tmp_path / "data") as folder:
        assert folder.read_key() == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = load_keys(load(serve={"secret_keys_file": str(file)}).serve, now_s=0).get(key)
    assert found is not None and found.secret and found.client == "backend"


def test_a_second_system_is_refused_with_the_process_of_the_first(tmp_path: Path) -> None:
    with data_folder(tmp_path / "data") as folder:
        folder.note({"up": os.getpid(), "worker": os.getpid()})
        refused = pytest.raises(FolderInUse, match=rf"another `segops up` \(process {os.getpid()}\): stop it")
        with refused, data_folder(tmp_path / "data"):
            pass
    with data_folder(tmp_path / "data"):
        pass


def test_what_a_killed_system_left_is_named(tmp_path: Path) -> None:
    with data_folder(tmp_path / "data") as folder:
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        folder.note({"up": ended.pid, "worker": os.getpid()})
        left = rf"left processes that use .*: worker {os.getpid()}\. Stop them: kill {os.getpid()}"
        with pytest.raises(FolderInUse, match=left), data_folder(tmp_path / "data"):
            pass


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot use the data folder .*file"), data_folder(tmp_path / "file"):
        pass


def kafka(servers: str | None) -> KafkaSettings:
    return load(kafka={} if servers is None else {"bootstrap_servers": servers}).kafka


def test_brokers_of_the_settings_are_used_unless_they_are_those_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEGOPS_KAFKA_BOOTSTRAP_SERVERS", raising=False)
    options = Options(tmp_path)
    with data_folder(tmp_path / "data") as folder:
        assert broker_for(options, folder, kafka("kafka:9092")) == ("own", "kafka:9092")
        assert broker_for(replace(options, broker="embedded"), folder, kafka("kafka:9092")) == (
            "embedded",
            None,
        )
        folder.environment_file.write_text(shell_file({"SEGOPS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092"}))
        assert broker_for(options, folder, kafka("127.0.0.1:9092")) == ("own", "127.0.0.1:9092")
        (folder.broker / "embedded").mkdir(parents=True)
        assert broker_for(options, folder, kafka("127.0.0.1:9092")) == ("embedded", None)
        assert broker_for(options, folder, kafka(None)) == ("embedded", None)
        assert broker_for(options, folder, kafka("127.0.0.1:9093")) == ("own", "127.0.0.1:9093")
        own = replace(options, broker="own")
        assert broker_for(own, folder, kafka("127.0.0.1:9092")) == ("own", "127.0.0.1:9092")


def test_processes_are_replaced_as_a_whole(tmp_path: Path) -> None:
    with data_folder(tmp_path / "data") as folder:
        folder.note({"up": 1})
        with (tmp_path / "data" / "processes.json").open() as reader:
            folder.note({"up": 1, "worker": 2})
            assert reader.read() == '{"up":1}'
