"""Topics, stores and definitions of the former version can be opened and continued."""

from __future__ import annotations

import asyncio
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from segops.brokers import BrokerUnavailable, LocalBroker, choose
from segops.operations.definitions import publish
from segops.schemas.segments import load
from tests.rest import in_rest, rest

from ..conftest import REQUESTED
from ..streaming.helpers import Stack
from .stream import FINAL_MS, GUARANTEES, PARTITIONS, WRITTEN, expected, segments, stream

ARCHIVES = sorted((Path(__file__).parent / "data").glob("*.tar.xz"))
#: Whether the worker's stores exist or must be restored from the changelog.
STORES: dict[str, list[pytest.MarkDecorator]] = {"kept": [], "lost": [rest]}

pytestmark = pytest.mark.broker


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((path, store), id=f"{path.name.partition('.')[0]}-{store}", marks=marks)
        for path in ARCHIVES
        for store, marks in STORES.items()
    ],
)
def former(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LocalBroker, Path]]:
    """A broker on the topics that the former version left, and the folder of its workers' files."""
    if REQUESTED not in ("auto", "jvm"):
        pytest.skip("the archive holds the files of Apache Kafka")
    archived, store = request.param
    folder = tmp_path_factory.mktemp("upgrade")
    with tarfile.open(archived) as archive:
        archive.extractall(folder, filter="data")
    if store == "lost":
        for prefix in GUARANTEES:
            shutil.rmtree(folder / prefix / "data-0")
    try:
        broker = choose(folder / "broker", prefer="jvm")
    except BrokerUnavailable as error:
        if REQUESTED == "jvm":
            raise
        pytest.skip(str(error))
    with broker:
        yield broker, folder


def test_archive_exists() -> None:
    assert ARCHIVES


@pytest.mark.parametrize("prefix", [in_rest("alo."), "eos."])
def test_state_of_the_former_version_is_continued(former: tuple[LocalBroker, Path], prefix: str) -> None:
    broker, folder = former
    stack = Stack(broker.bootstrap_servers, prefix, folder / prefix, partitions=PARTITIONS)
    stack.guarantee, stack.environment = GUARANTEES[prefix], {"SEGOPS_SESSION_TIMEOUT": "6s"}
    file = folder / "segments.yaml"
    file.write_text(segments())
    definitions = load([file])
    before = stack.changes()
    expected_changes = expected(definitions, stream(), until_ms=FINAL_MS)
    assert before, "the former version published changes"
    assert set(before) < set(expected_changes), "and left others to this version"
    steps = asyncio.run(publish(stack.settings, definitions, dry_run=True))
    assert {step.action for step in steps} == {"unchanged"}
    try:
        stack.start()
        stack.send(stream()[WRITTEN:], final_ms=FINAL_MS)
        stack.wait_for_changes(expected_changes)
    finally:
        stack.close()
    assert stack.changes() == expected_changes
