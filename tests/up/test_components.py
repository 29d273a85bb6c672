"""Supervision of the components of ``segops up``: pauses, restarts, and an end. Time is an argument."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from segops.brokers import BrokerFailed, LocalBroker
from segops.config import load
from segops.up.components import READY, ComponentSpec, SupervisedBroker, SupervisedCommand, components_of
from segops.up.folder import DataFolder, data_folder
from segops.up.options import Options


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DataFolder]:
    with data_folder(tmp_path / "data") as found:
        yield found


def component(folder: DataFolder, *command: str) -> SupervisedCommand:
    return SupervisedCommand(ComponentSpec("worker", command, "here", [1]), {}, folder)


def ended(component: SupervisedCommand) -> None:
    assert component._child is not None
    component._child.wait()


def look(component: SupervisedCommand | SupervisedBroker, now_s: float) -> str:
    asyncio.run(component.look(now_s))
    return component.state


def test_a_part_with_wrong_settings_is_not_started_again(folder: DataFolder) -> None:
    wrong = component(folder, "check", "nowhere.yaml")
    wrong.start()
    ended(wrong)
    assert look(wrong, 10.0).startswith("stopped: ") and "nowhere.yaml" in wrong.state
    assert wrong.wrong and wrong.over
    pid = wrong.pid
    look(wrong, 1_000.0)
    assert wrong.pid == pid


def test_a_part_that_fails_is_started_again_after_growing_pauses_and_given_up_at_last(
    folder: DataFolder,
) -> None:
    failing = component(folder, "version")
    failing.start()
    now_s, pauses = 1_000.0, []
    while True:
        ended(failing)
        pid = failing.pid
        if look(failing, now_s).startswith("keeps failing: segops 0.1.0"):
            break
        pauses.append(failing.state)
        pause_s = 2.0 ** (len(pauses) - 1)
        look(failing, now_s + pause_s - 0.1)
        assert failing.pid == pid
        now_s += pause_s
        assert look(failing, now_s) == "starting"
        assert failing.pid != pid
    assert [each.partition(" s: ")[0] for each in pauses] == [
        f"failed, starts again in {n}" for n in (1, 2, 4, 8, 16)
    ]
    assert failing.over and not failing.wrong


class Node:
    """A broker that can be started again when ``willing``."""

    address, pid = "127.0.0.1:9092", 4711

    def __init__(self) -> None:
        self.alive, self.willing = True, True

    def start(self) -> None:
        if not self.willing:
            raise BrokerFailed("its log says why")
        self.alive = True


def test_a_broker_that_exits_is_started_again(folder: DataFolder) -> None:
    node = Node()
    broker = SupervisedBroker(LocalBroker("jvm", "kafka", node.address, nodes=(node,)))
    assert look(broker, 0.0) == READY and broker.pid == 4711
    node.alive = node.willing = False
    assert look(broker, 1.0) == "failed, starts again in 1 s: it exited; see its broker.log"
    look(broker, 2.0)
    assert not node.alive
    assert look(broker, 3.0) == "failed, starts again in 2 s: its log says why"
    node.willing = True
    look(broker, 5.0)
    assert look(broker, 6.0) == READY


def test_a_broker_of_others_is_only_named() -> None:
    broker = SupervisedBroker(LocalBroker("own", "yours", "kafka:9092"))
    assert (look(broker, 0.0), broker.pid, broker.address) == (READY, None, "kafka:9092")


def test_parts_follow_from_settings_and_options(tmp_path: Path) -> None:
    plain = components_of(load(), Options(tmp_path))
    names = ["worker", "sources", "catalogue", "activate", "serve", "console", "collector"]
    assert [each.name for each in plain] == names
    settings = load(archive={"url": "file:///a"}, worker={"web_port": 7000}, output={"format": "segment"})
    full = components_of(settings, Options(tmp_path, processes=2, klaviyo=True))
    assert [each.name for each in full] == [
        "worker",
        "archive",
        "sources",
        "catalogue",
        "activate",
        "serve",
        "console",
        "output",
        "klaviyo",
        "collector",
    ]
    assert list(full[0].ports) == [7000, 7001]
    assert full[0].command == ["worker", "--processes", "2"]
