"""Run a pull: through outages of Kafka, once or until it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from aiohttp import ClientSession

from segops.config import KlaviyoSettings, Settings
from segops.core.errors import UserError
from segops.kafka.outages import Outage, Pauses, is_outage
from segops.kafka.reachability import Unreachable
from segops.klaviyo.client import KlaviyoClient
from segops.klaviyo.journal import open_journal
from segops.klaviyo.pull import Pull
from segops.metrics import Metrics
from segops.wall_clock import wall_ms

#: With headers and key below a broker's limit of 1 MiB.
_MAX_RECORD_BYTES: Final = 1_000_000


def read_key(settings: KlaviyoSettings) -> str:
    """Return the private API key. Raises UserError if there is none, or if it cannot be one."""
    if settings.api_key is not None:
        return settings.api_key.get_secret_value()
    if settings.api_key_file is None:
        raise UserError("missing key: expected SEGOPS_KLAVIYO_API_KEY or SEGOPS_KLAVIYO_API_KEY_FILE")
    try:
        key = settings.api_key_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"SEGOPS_KLAVIYO_API_KEY_FILE: cannot read {settings.api_key_file}: {error}"
        ) from error
    if not key.isascii() or not key.isprintable() or not key or " " in key:
        raise UserError(f"SEGOPS_KLAVIYO_API_KEY_FILE: expected one key in {settings.api_key_file}")
    return key


class PullService:
    """The pull of these settings. ``passed`` is called at each failpoint."""

    def __init__(
        self, settings: Settings, metrics: Metrics, *, follow: bool, passed: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._key = read_key(settings.klaviyo)
        self._metrics = metrics
        self._follow = follow
        self._passed = passed
        self._outage = Outage()
        self._pauses = Pauses()
        self._client: KlaviyoClient | None = None
        #: The pull at work, or None while Kafka is awaited.
        self.pull: Pull | None = None

    @property
    def waits_for(self) -> str | None:
        """The reason why nothing is pulled at present, or None."""
        if self._outage.reason is not None:
            return f"waiting for Kafka: {self._outage.reason}"
        return None if self._client is None else self._client.waits_for

    async def run(self, stop: asyncio.Event) -> None:
        """Pull until all is pulled, or with ``follow`` until ``stop``.

        After an outage of Kafka it begins again at its position. Raises all other errors.
        """
        async with ClientSession(trust_env=False) as session:
            self._client = KlaviyoClient(
                session, self._settings.klaviyo.url, key=self._key, metrics=self._metrics
            )
            first = True
            while not stop.is_set():
                try:
                    await self._session(self._client, stop, first=first)
                    return
                except Exception as error:
                    if not is_outage(error) or (first and _is_misconfigured(error)):
                        raise
                    first, self.pull = first and isinstance(error, Unreachable), None
                    self._outage.failed(error)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), self._pauses.take())

    async def _session(self, client: KlaviyoClient, stop: asyncio.Event, *, first: bool) -> None:
        async with open_journal(self._settings, passed=self._passed) as journal:
            pull = Pull(
                client,
                journal,
                self._settings.klaviyo,
                max_event_bytes=min(self._settings.engine.max_event_bytes, _MAX_RECORD_BYTES),
                metrics=self._metrics,
                wall=wall_ms,
                passed=self._passed,
            )
            await pull.begin(first=first)
            self._outage.over()
            self._pauses.reset()
            self.pull = pull
            await pull.run(stop, follow=self._follow)


def _is_misconfigured(error: Exception) -> bool:
    """Tell whether waiting cannot help: an unknown host or a refused login."""
    return isinstance(error, Unreachable) and not error.transient
