"""A strict stand-in of the part of Meta's Graph API that keeps Custom Audiences.

Sources. Meta's documentation, "Custom Audience Users" and "Customer File Custom Audiences": POST and DELETE
of /{audience}/users with ``payload`` of ``schema`` and ``data``, at most 10,000 rows; SHA-256 in hexadecimal
digits of normalised values, EXTERN_ID as it is; LOOKALIKE_VALUE of at least 0; answers with ``num_received``,
``num_invalid_entries`` and ``session_id``; 100 with subcode 1713230 for an audience whose operation_status is
471. "Rate Limits": 80003, 17 and 4, and ``X-Business-Use-Case-Usage`` with minutes. "Handle Errors": 190,
``is_transient``. RudderStack's integration: 100 with subcode 33 for an audience that is gone, and that a
value-based audience needs LOOKALIKE_VALUE. Segment's integration: JSON bodies, and empty cells.

Unverified against the service: which status comes with a code, that people who were added with several
identifiers are removed by EXTERN_ID alone, and how an invalid row is counted. That a removal has no
LOOKALIKE_VALUE is this stand-in's own rule.
"""

from __future__ import annotations

import json
import re
from typing import Any

from aiohttp import web

from segops.destinations.meta.api import proof_of

from .stand_in import StandInServer

TOKEN = "EAAB-stand-in-0123456789"
APP_SECRET = "app-secret-0123456789"
ROOT = "/v25.0"
#: Of each of these the same request succeeds the next time; ``half`` counts every second row as invalid once.
FAULTS = ("80003", "17", "4", "1", "transient", "500", "reset", "lost", "cut", "half")
_STATUSES = {"4": 403, "17": 400, "80003": 400, "1": 400, "transient": 400}
_LIMITS = ("4", "17", "80003")
_HASH = re.compile(r"[0-9a-f]{64}")
_IDENTIFIERS = ("EXTERN_ID", "EMAIL", "PHONE")


class GraphError(Exception):
    """An error of the Graph API."""

    def __init__(self, code: int, text: str, *, status: int = 400, **more: Any) -> None:
        super().__init__(text)
        self.status = status
        self.document = {"error": {"message": text, "type": "OAuthException", "code": code, **more}}


class MetaStandIn(StandInServer):
    """Audiences: the row of each person, by its first cell. ``broken``: first cells of invalid rows."""

    def __init__(self, *audiences: str) -> None:
        super().__init__()
        self.audiences: dict[str, dict[str, dict[str, Any]]] = {each: {} for each in audiences}
        self.value_based: set[str] = set()
        self.flagged: set[str] = set()
        self.broken: set[str] = set()
        self.app_secret: str | None = None
        self.minutes = 0.0
        self.rates = {"all": {3_600: 5_000}}

    async def carry_out(self, request: web.Request, fault: str) -> web.Response:
        """Answer a request that arrives."""
        if fault == "500":
            return web.Response(status=500)
        try:
            if fault in _STATUSES or self.is_over("all"):
                raise self._fault(fault or "80003")
            return web.json_response(await self._answered(request, fault))
        except GraphError as error:
            usage = [{"type": "custom_audience", "estimated_time_to_regain_access": self.minutes}]
            headers = {"X-Business-Use-Case-Usage": json.dumps({"123": usage})}
            return web.json_response(error.document, status=error.status, headers=headers)

    def _fault(self, name: str) -> GraphError:
        if name == "transient":
            return GraphError(99_999, "try again", is_transient=True)
        if name in _LIMITS:
            self.close_for(self.minutes * 60)
        return GraphError(int(name), "too many calls", status=_STATUSES[name])

    async def _answered(self, request: web.Request, fault: str) -> Any:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            given = request.headers.get("authorization")
            raise GraphError(190, f"Invalid OAuth access token {given}", status=401)
        query = dict(request.query)
        proof = query.pop("appsecret_proof", None)
        if self.app_secret is not None and proof != proof_of(TOKEN, self.app_secret):
            raise GraphError(100, f"Invalid appsecret_proof {proof}")
        path = request.path.removeprefix(ROOT + "/")
        if request.method == "GET":
            return self._read(path, query.pop("fields"))
        self._require(not query and path.endswith("/users"), f"unknown query {query} or path {path}")
        audience = path.removesuffix("/users")
        if audience not in self.audiences:
            raise GraphError(100, f"Object with ID '{audience}' does not exist", error_subcode=33)
        if audience in self.flagged:
            raise GraphError(100, "Invalid parameter", error_subcode=1713230)
        self._require(request.content_type == "application/json", request.content_type)
        return self._changed(audience, request.method, json.loads(await request.read()), fault)

    def _read(self, path: str, fields: str) -> Any:
        if path == "me":
            return {"id": "1"}
        if path not in self.audiences:
            raise GraphError(100, f"Object with ID '{path}' does not exist", error_subcode=33)
        self._require(fields == "id,operation_status,is_value_based", fields)
        code = 471 if path in self.flagged else 200
        status = {"code": code, "description": "x"}
        return {"id": path, "operation_status": status, "is_value_based": path in self.value_based}

    def _changed(self, audience: str, method: str, body: Any, fault: str) -> Any:
        payload = body.get("payload") or {}
        self._require(
            set(body) == {"payload"} and set(payload) == {"schema", "data"}, f"unknown fields {body}"
        )
        schema, rows = payload["schema"], payload["data"]
        self._require(0 < len(rows) <= 10_000, f"{len(rows)} rows")
        adds = method == "POST"
        valued = adds and audience in self.value_based
        self._require(("LOOKALIKE_VALUE" in schema) is valued, f"LOOKALIKE_VALUE: {schema}")
        invalid = 0
        for number, row in enumerate(rows):
            self._require(len(row) == len(schema), f"{row} of {schema}")
            cells = dict(zip(schema, row, strict=True))
            self._check(cells)
            if adds and (row[0] in self.broken or (fault == "half" and number % 2)):
                invalid += 1
            elif adds:
                self.audiences[audience][row[0]] = cells
            else:
                self.audiences[audience].pop(row[0], None)
        found = {"audience_id": audience, "session_id": "77", "num_received": len(rows)}
        return {**found, "num_invalid_entries": invalid, "invalid_entry_samples": {}}

    def _check(self, cells: dict[str, Any]) -> None:
        for name, cell in cells.items():
            if name == "LOOKALIKE_VALUE":
                self._require(isinstance(cell, int | float) and cell >= 0, f"{name} {cell!r}")
            else:
                self._require(name in _IDENTIFIERS and isinstance(cell, str), f"{name} {cell!r}")
                hashed = name == "EXTERN_ID" or cell == "" or _HASH.fullmatch(cell) is not None
                self._require(hashed, f"{name} is no hash: {cell!r}")
        self._require(any(cells.get(each) for each in _IDENTIFIERS), f"no identifier in {cells}")

    def _require(self, holds: bool, why: str) -> None:
        if not holds:
            self.refused.append(why)
            raise GraphError(100, f"Invalid parameter: {why}")
