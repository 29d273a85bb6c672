"""What people post: the body of a request, and the form that it must fit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import UnionType
from typing import Any, Final, TypeVar, Union, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec
from aiohttp.web import BaseRequest
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from segops.console.access.guard import Denied

_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"
_MAX_FIELDS: Final = 10_000

F = TypeVar("F", bound=BaseModel)


class FormRefused(Exception):
    """A form with mistakes: ``errors`` by field, "" for those of the whole form."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(filter(None, (errors.get(""), f"{len(errors)} fields to correct"))))
        self.errors = errors


async def posted(request: BaseRequest, *, max_bytes: int, timeout_s: float) -> dict[str, Any]:
    """Return the fields of a POST: text, a list of texts where a name is repeated, or what JSON says.

    Raises Denied for a body that is too long, too slow, or neither JSON nor a form.
    """
    body = await _body(request, max_bytes=max_bytes, timeout_s=timeout_s)
    if request.content_type == _JSON:
        return _of_json(body)
    if request.content_type != _FORM:
        raise Denied(415, f"Expected {_FORM} or {_JSON}.")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise Denied(400, "Expected a form in UTF-8.") from None
    found: dict[str, Any] = {}
    for name, value in pairs:
        earlier = found.get(name)
        found[name] = (
            value if earlier is None else [*([earlier] if isinstance(earlier, str) else earlier), value]
        )
    return found


async def _body(request: BaseRequest, *, max_bytes: int, timeout_s: float) -> bytes:
    if (request.content_length or 0) > max_bytes:
        raise Denied(413, f"Expected at most {max_bytes:,} bytes.")
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > max_bytes:
                    raise Denied(413, f"Expected at most {max_bytes:,} bytes.")
    except TimeoutError:
        raise Denied(408, "The form did not arrive in time.") from None
    return bytes(body)


def _of_json(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Denied(400, "Expected a JSON object.") from None


def validated(form: type[F], values: Mapping[str, Any]) -> F:
    """Return the form that values fit. Raises FormRefused.

    An empty text field counts as one that was left out; a single value fits a list.
    """
    given = dict(values)
    for name, value in values.items():
        field = form.model_fields.get(name)
        if field is None:
            continue
        if value == "" and not field.is_required():
            del given[name]
        elif isinstance(value, str) and _is_list(field):
            given[name] = [value] if value else []
    try:
        return form.model_validate(given)
    except ValidationError as error:
        raise FormRefused(_reasons(error)) from None


def _is_list(field: FieldInfo) -> bool:
    kinds = [field.annotation]
    if get_origin(field.annotation) in (Union, UnionType):
        kinds = list(get_args(field.annotation))
    return any((get_origin(kind) or kind) in (list, tuple, set, frozenset) for kind in kinds)


def _reasons(error: ValidationError) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for problem in error.errors(include_input=False, include_url=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        inner = ".".join(map(str, problem["loc"][1:]))
        reason = problem["msg"].removeprefix("Value error, ")
        text = f"{inner}: {reason}" if inner else reason
        found[name] = f"{found[name]}; {text}" if name in found else text
    return found
