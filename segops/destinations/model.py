"""A destination as people describe it: a name, a kind, and what this kind needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from segops.config import secret_variable
from segops.core.errors import UserError

_API_URL: Final = re.compile(
    r"https://[A-Za-z0-9.-]{1,253}(:\d{1,5})?|http://(127\.0\.0\.1|localhost)(:\d{1,5})?"
)


def _api_url(text: str) -> str:
    if _API_URL.fullmatch(text) is None:
        raise ValueError("expected https://host without a path, or http:// on loopback")
    return text


#: The server of an API: its paths are the adapter's, and credentials are not sent in the clear.
ApiUrl = Annotated[str, AfterValidator(_api_url)]


class Destination(msgspec.Struct, frozen=True):
    """A published destination. ``written``: all of it, as people wrote it, without its secrets."""

    name: str
    kind: str
    written: Mapping[str, Any]


class Form(BaseModel):
    """What is written of a destination, of any kind; a kind adds its own fields."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str
    kind: str


class Secret(BaseModel):
    """Where a secret is: in an environment variable, or in a file. It is never written itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    env: str | None = None
    file: Path | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Secret:
        if (self.env is None) is (self.file is None):
            raise ValueError("expected {env: NAME} or {file: PATH}")
        return self

    def read(self) -> str:
        """Return the secret. Raises UserError if it is missing."""
        if self.env is not None:
            found = secret_variable(self.env)
            if not found:
                raise UserError(f"the environment variable {self.env} is not set")
            return found
        try:
            text = Path(str(self.file)).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"the secret in {self.file} cannot be read: {error}") from None
        if not text:
            raise UserError(f"the file {self.file} holds no secret")
        return text
