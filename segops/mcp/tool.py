"""What a tool is: a name, a description, the form of its arguments, and the function that answers."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segops.config import Settings
from segops.core.errors import DefinitionError, UserError
from segops.schemas.issues import form_issues
from segops.schemas.written import check_bounds

_MAX_PAGE: Final = 200
_PAGE: Final = 50

#: The key of a published segment, indicator or audience.
Key = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.:_-]{0,127}$")]
#: What is encoded as JSON: times are integers in milliseconds, named ``*_ms``.
Answer = Mapping[str, Any]


class Form(BaseModel):
    """The arguments of a tool."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NoArguments(Form):
    """No arguments."""


class PageForm(Form):
    """One page of a list by key."""

    after: str = Field(default="", max_length=64, description="The key after which the page begins.")
    limit: int = Field(default=_PAGE, ge=1, le=_MAX_PAGE, description="The most entries of the page.")

    def page(self, keys: Collection[str]) -> tuple[list[str], str | None]:
        """Return the keys of the page, and ``after`` of the next one, or None on the last.

        >>> PageForm(after="a", limit=2).page(["d", "c", "b", "a"])
        (['b', 'c'], 'c')
        """
        left = sorted(key for key in keys if key > self.after)
        shown = left[: self.limit]
        return shown, shown[-1] if len(shown) < len(left) else None


@dataclass(frozen=True)
class Tool:
    """A tool. ``answer`` gets the settings and the arguments; it raises SegopsError.

    ``personal``: it reads personal data. ``scans``: it visits all profiles. ``identifying``: the arguments
    that name a person; the audit has their hashes.
    """

    name: str
    title: str
    description: str
    form: type[Form]
    answer: Callable[[Settings, Any], Awaitable[Answer]]
    personal: bool = False
    scans: bool = False
    identifying: frozenset[str] = frozenset()

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the arguments."""
        return self.form.model_json_schema()

    def read(self, arguments: Mapping[str, Any]) -> Form:
        """Return the arguments in their form. Raises UserError with every mistake."""
        try:
            check_bounds(dict(arguments))
            return self.form.model_validate(arguments)
        except ValidationError as error:
            raise DefinitionError(form_issues(self.name, "", error)) from None
        except ValueError as error:
            raise UserError(f"{self.name}: {error}") from None

    def noted(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments as the audit has them.

        >>> tool = Tool("t", "T", "", Form, None, identifying=frozenset({"who"}))
        >>> tool.noted({"who": "user_id:ann", "limit": 3})
        {'who': 'sha256:98c8a6e2fe1c0627', 'limit': 3}
        """
        return {
            name: _hash(value) if name in self.identifying else value for name, value in arguments.items()
        }


def _hash(value: Any) -> str:
    return f"sha256:{hashlib.sha256(str(value).encode('utf-8', 'replace')).hexdigest()[:16]}"


def unknown_segment(key: str) -> UserError:
    """Return the error for a key that no published segment has."""
    return UserError(f"unknown segment {key!r}; list_segments lists all segments")
