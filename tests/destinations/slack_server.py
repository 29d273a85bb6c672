"""A strict stand-in of an incoming webhook of Slack.

Sources: Slack's documentation, "Sending messages using incoming webhooks" (POST of JSON with ``text``, the
answer ``ok``, the names of errors as text: ``invalid_payload``, ``no_text``, ``channel_is_archived``,
``action_prohibited``, ``no_service`` …; ``&``, ``<`` and ``>`` must be escaped: "Formatting text"), and "Rate
limits" (one message a second, 429 with ``Retry-After``); Slack's client ``slack_sdk`` (200 and ``ok``).
Unverified against the service: the statuses of the errors, and that a message without text is ``no_text``
only where the webhook works. That Mattermost names a missing text ``web.incoming_webhook.text.app_error`` is
in its own source.
"""

from __future__ import annotations

import json
import re

from aiohttp import web

from .stand_in import StandInServer

PATH = "/services/T01234567/B01234567/0123456789abcdefABCDEFgh"
FAULTS = ("429", "500", "reset", "lost", "cut")
#: What begins a mention or a link in Slack, or is no reference to a character.
_SPECIAL = re.compile(r"[<>]|&(?!amp;|lt;|gt;)")
_MAX_TEXT = 40_000


class SlackStandIn(StandInServer):
    """A channel. ``gone``: the error by which the webhook refuses everything, with its status."""

    def __init__(self, *, per_minute: int = 10) -> None:
        super().__init__()
        self.rates = {PATH: {1: 1, 60: per_minute}}
        self.texts: list[str] = []
        self.gone: tuple[int, str] | None = None

    async def carry_out(self, request: web.Request, fault: str) -> web.Response:
        """Answer a request that arrives."""
        if fault in ("429", "500") or self.is_over(PATH):
            return web.Response(status=int(fault or 429), headers=self.throttle())
        if request.path != PATH:
            return web.Response(status=404, text=f"no_service {request.path}")
        if self.gone is not None:
            return web.Response(status=self.gone[0], text=self.gone[1])
        if (problem := await self._problem(request)) is not None:
            return web.Response(status=400, text=problem)
        return web.Response(text="ok")

    async def _problem(self, request: web.Request) -> str | None:
        if request.method != "POST" or request.content_type != "application/json":
            return self._refuse("invalid_payload", f"{request.method} of {request.content_type}")
        body = json.loads(await request.read())
        if set(body) != {"text"} or not isinstance(body["text"], str) or len(body["text"]) > _MAX_TEXT:
            return self._refuse("invalid_payload", f"unknown fields: {sorted(body)}")
        if not body["text"]:
            return "no_text"
        if _SPECIAL.search(body["text"]) is not None or "impossible" in body["text"]:
            return self._refuse("invalid_payload", body["text"])
        self.texts.append(body["text"])
        return None

    def _refuse(self, name: str, why: str) -> str:
        self.refused.append(why)
        return name
