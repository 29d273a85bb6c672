"""A service of a model on loopback that answers as it is told, and misbehaves on request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

#: The raw bytes of a response; None lets the request hang.
Behaviour = bytes | None


def http(body: bytes, status: str = "200 OK", *extra: str, length: int | None = None) -> bytes:
    head = [
        f"HTTP/1.1 {status}",
        f"content-length: {len(body) if length is None else length}",
        "connection: close",
        *extra,
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def as_json(document: Any, status: str = "200 OK") -> bytes:
    return http(json.dumps(document).encode(), status, "content-type: application/json")


def answer(kind: str, rule: Any = None, question: str = "", reason: str = "", **more: Any) -> dict[str, Any]:
    return {"outcome": kind, "rule": rule, "question": question, "reason": reason, **more}


def openai(content: Any, finish: str = "stop", refusal: str | None = None, **usage: int) -> bytes:
    text = content if isinstance(content, str) or content is None else json.dumps(content)
    message = {"role": "assistant", "content": text, "refusal": refusal}
    return as_json(
        {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": finish}]}
        | ({"usage": usage} if usage else {})
    )


def anthropic(content: Any, stop: str = "tool_use", text: str | None = None, **usage: int) -> bytes:
    blocks: list[dict[str, Any]] = [] if text is None else [{"type": "text", "text": text}]
    if content is not None:
        blocks.append({"type": "tool_use", "id": "t", "name": "answer", "input": content})
    return as_json(
        {"id": "m", "type": "message", "content": blocks, "stop_reason": stop}
        | ({"usage": usage} if usage else {})
    )


FORMS: dict[str, Callable[..., bytes]] = {"openai": openai, "anthropic": anthropic}


@dataclass
class Received:
    """A request."""

    line: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def document(self) -> dict[str, Any]:
        """The document that the model is given."""
        return json.loads(self.body["messages"][-1]["content"])


@dataclass
class ModelServer:
    """The service. ``behaviours``: the next responses, each used once; the last one again and again."""

    behaviours: list[Behaviour]
    received: list[Received] = field(default_factory=list)
    _open: set[asyncio.Task[Any] | None] = field(default_factory=set)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            await asyncio.gather(*self._open)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(asyncio.current_task())
        line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        headers = {name.lower(): value for name, value in (each.split(": ", 1) for each in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.received.append(Received(line, headers, json.loads(body) if body else {}))
        behaviour = self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]
        if behaviour is None:
            await reader.read()  # until the client gives up
        else:
            writer.write(behaviour)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
