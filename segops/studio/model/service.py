"""The service of a model: prompts within the day's budget, each with its answer in the audit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

import msgspec

from segops.config import StudioSettings
from segops.core.errors import UserError
from segops.studio.model.audit import Audit
from segops.studio.model.client import ModelAway, post, without
from segops.studio.model.wire import WIRES, Prompt, Reply

#: The longest document that is sent: a catalogue of some thousand names.
MAX_DOCUMENT: Final = 200_000
_BYTES_PER_TOKEN: Final = 3


class Service:
    """The service of some settings. ``wall_ms``: the clock of the audit and the budget.

    Raises UserError if the settings name no service, no model, or a key that cannot be read.
    """

    def __init__(self, settings: StudioSettings, wall_ms: Callable[[], int]) -> None:
        if settings.url is None or settings.model is None:
            raise UserError("expected SEGOPS_STUDIO_MODEL_URL and SEGOPS_STUDIO_MODEL for a model")
        self.model = settings.model
        self.answer_tokens = settings.answer_tokens
        self._url = settings.url
        self._timeout_s = settings.timeout_ms / 1_000
        self._wire = WIRES[settings.api]
        self._key = read_key(settings)
        self._secrets = () if self._key is None else (self._key,)
        self._wall_ms = wall_ms
        self._audit = Audit(
            settings.audit_dir,
            requests=settings.requests_a_day,
            tokens=settings.tokens_a_day,
            secrets=self._secrets,
        )

    async def ask(self, prompt: Prompt, attempt: int) -> Reply:
        """Return the reply to a prompt; a key that it repeats is replaced.

        Raises ModelAway if there is none that can be read, BudgetSpent if the day's budget does not suffice.
        """
        if len(prompt.document) > MAX_DOCUMENT:
            raise ModelAway(f"the catalogue has more than {MAX_DOCUMENT:,} characters", used=False)
        encoded = msgspec.json.encode(prompt.schema)
        size = len(encoded) + len(prompt.instructions.encode()) + len(prompt.document.encode())
        entry = {
            "attempt": attempt,
            "url": self._url,
            "model": prompt.model,
            "schema": hashlib.sha256(encoded).hexdigest()[:12],
            "instructions": prompt.instructions,
            "prompt": prompt.document,
        }
        tokens = size // _BYTES_PER_TOKEN + prompt.answer_tokens
        return await self._send(prompt, self._audit.reserve(self._wall_ms(), tokens, entry))

    async def _send(self, prompt: Prompt, request: str) -> Reply:
        url, headers = self._url + self._wire.path, self._wire.headers(self._key)
        try:
            response = await post(url, headers, self._wire.body(prompt), timeout_s=self._timeout_s)
            reply = self._read(response)
        except ModelAway as error:
            unused = {} if error.used else {"tokens": 0}
            self._audit.note(self._wall_ms(), request, "failure", {"reason": str(error), **unused})
            raise
        used = {} if reply.tokens is None else {"tokens": reply.tokens}
        entry = {"answer": reply.text, "declined": reply.declined, **used}
        self._audit.note(self._wall_ms(), request, "answer", entry)
        return reply

    def _read(self, response: Any) -> Reply:
        try:
            reply = self._wire.read(response)
        except (ValueError, RecursionError):
            raise ModelAway("expected the form of the interface", used=True) from None
        text, declined = (without(each, self._secrets) for each in (reply.text, reply.declined))
        return reply._replace(text=text, declined=declined)


def read_key(settings: StudioSettings) -> str | None:
    """Return the key for the service; None if there is none. Raises UserError if its file cannot be read."""
    if settings.api_key is not None:
        return settings.api_key.get_secret_value()
    if settings.api_key_file is None:
        return None
    variable = "SEGOPS_STUDIO_MODEL_API_KEY_FILE"
    try:
        key = settings.api_key_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{variable}: cannot read {settings.api_key_file}") from None
    if not key.isascii() or not key.isprintable() or not key or " " in key:
        raise UserError(f"{variable}: expected one key in {settings.api_key_file}")
    return key
