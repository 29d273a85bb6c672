"""A schema registry with Confluent's REST interface: what the client uses of it, on loopback."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


@dataclass
class SmallRegistry:
    """Schemas by id and by subject and version. It answers with ``status`` while that is not 200."""

    port: int = 0
    schemas: dict[int, dict[str, Any]] = field(default_factory=dict)
    subjects: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    status: int = 200
    #: The ``Authorization`` that it demands, if any.
    login: str | None = None
    #: Subjects that take no further version.
    refused: set[str] = field(default_factory=set)
    #: Requests by path.
    asked: Counter[str] = field(default_factory=Counter)

    @property
    def url(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self.port}"

    def add(self, schema_id: int, schema: object, type_: str = "AVRO", **more: Any) -> None:
        """Add a schema: a value to be written as JSON, or text."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        self.schemas[schema_id] = {"schema": text, "schemaType": type_, **more}

    def register(self, path: str, schema: str) -> tuple[int, object]:
        """Return the status and the body for a schema sent to a subject, or to its versions."""
        subject = unquote(path.strip("/").split("/")[1])
        known = {number: each for (name, number), each in self.subjects.items() if name == subject}
        for each in known.values():
            if each["schema"] == schema:
                return 200, {"subject": subject, "id": each["id"], "schema": schema}
        if not path.endswith("/versions"):
            return 404, {"error_code": 40403, "message": "Schema not found"}
        if subject in self.refused:
            return 409, {"error_code": 409, "message": "incompatible: a field was removed"}
        by_text = {each["schema"]: number for number, each in self.schemas.items()}
        schema_id = by_text.get(schema, len(self.schemas) + 1)
        self.add(schema_id, schema)
        self.subjects[subject, len(known) + 1] = {"schema": schema, "id": schema_id}
        return 200, {"id": schema_id}

    def login_with(self, user: str, password: str) -> None:
        """Demand a login from now on."""
        self.login = f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"

    def answer(self, path: str, authorization: str | None, schema: str | None = None) -> tuple[int, object]:
        """Return the status and the body for a request; one with a schema registers it."""
        self.asked[path] += 1
        if self.status != 200:
            return self.status, {"error_code": self.status, "message": "out of order"}
        if self.login is not None and authorization != self.login:
            return 401, {"error_code": 401, "message": "Unauthorized"}
        if schema is not None:
            return self.register(path, schema)
        match [unquote(part) for part in path.partition("?")[0].strip("/").split("/")]:
            case ["schemas", "ids", number]:
                found = self.schemas.get(int(number))
            case ["subjects", subject, "versions", version]:
                found = self.subjects.get((subject, int(version)))
            case _:
                return 404, {"message": "no such page"}
        return (200, found) if found else (404, {"error_code": 40403, "message": "Schema not found"})

    @contextmanager
    def serving(self) -> Iterator[SmallRegistry]:
        """Serve during the block, on ``port`` or, if that is 0, on a free one."""
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.reply()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.reply(json.loads(body)["schema"])

            def reply(self, schema: str | None = None) -> None:
                status, body = registry.answer(self.path, self.headers.get("Authorization"), schema)
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        ThreadingHTTPServer.allow_reuse_address = True
        with ThreadingHTTPServer(("127.0.0.1", self.port), Handler) as server:
            self.port = server.server_address[1]
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


def frame(schema_id: int, payload: bytes) -> bytes:
    """Return a payload as a serializer frames it."""
    return b"\x00" + schema_id.to_bytes(4, "big") + payload
