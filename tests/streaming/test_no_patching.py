"""Third-party objects are adapted by subclasses, never patched at run time."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

import segops.streaming
from segops.config import load
from segops.streaming.connections import Connections, FencedClient

FOLDER = Path(segops.streaming.__file__).parent
MODULES = [*sorted(FOLDER.glob("**/*.py")), FOLDER.parent / "worker.py"]
#: Values (never functions) that a client offers no option for: see ADR 0003.
ALLOWED = {"load.py": ["producer._message_accumulator._batch_ttl"]}


def patches(source: str) -> Iterator[str]:
    """Find setattr calls and assignments of private attributes or functions, except to ``self``."""
    tree = ast.parse(source)
    functions = {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("setattr", "object.__setattr__"):
            yield ast.unparse(node)
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in (found for each in targets for found in attributes(each)):
                own = ast.unparse(target.value) in ("self", "cls")
                function = isinstance(node.value, ast.Lambda) or (
                    isinstance(node.value, ast.Name) and node.value.id in functions
                )
                if not own and (target.attr.startswith("_") or function):
                    yield ast.unparse(target)


def attributes(target: ast.expr) -> Iterator[ast.Attribute]:
    if isinstance(target, ast.Attribute):
        yield target
    elif isinstance(target, ast.Tuple | ast.List):
        for each in target.elts:
            yield from attributes(each)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_no_third_party_object_is_patched(path: Path) -> None:
    assert list(patches(path.read_text("utf-8"))) == ALLOWED.get(path.name, [])


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("async def fenced(): ...\nproducer.client.send = fenced", ["producer.client.send"]),
        ("client.send = lambda: None", ["client.send"]),
        ("client._closed = True", ["client._closed"]),
        ("one, client._closed = True, False", ["client._closed"]),
        ("client.__class__ = Ours", ["client.__class__"]),
        ("setattr(client, name, fenced)", ["setattr(client, name, fenced)"]),
        ("self._closed = True\nentry.used = True\nself._done = lambda: None", []),
    ],
)
def test_each_kind_of_patch_is_detected(source: str, found: list[str]) -> None:
    assert list(patches(source)) == found


@pytest.mark.parametrize("transactional", [False, True])
def test_all_parts_of_a_producer_share_the_fenced_client(*, transactional: bool) -> None:
    async def scenario() -> None:
        connections = Connections(load(worker={"app_id": "ours"}, kafka={"bootstrap_servers": "here:1"}))
        producer = connections.transactional_producer(0) if transactional else connections.producer()
        assert isinstance(producer.client, FencedClient)
        assert producer._sender.client is producer.client
        assert producer._metadata is producer.client.cluster
        assert producer._message_accumulator._cluster is producer.client.cluster
        assert (producer.client._client_id, producer.client._bootstrap_servers) == ("segops-ours", "here:1")
        connections.drop()  # not started: avoids a ResourceWarning

    asyncio.run(scenario())


def test_fence_is_checked_before_every_request_and_connection() -> None:
    class Closed(Exception): ...

    def fence() -> None:
        raise Closed

    async def scenario() -> None:
        connections = Connections(load())
        producer = connections.producer(fence)
        with pytest.raises(Closed):
            await producer.client.send(0, object())
        connections.drop()

    asyncio.run(scenario())
