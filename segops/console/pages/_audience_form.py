"""The form of an audience: what people fill in, as the audience that a file would have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from segops.console.page import Context
from segops.core.audiences.model import CHANNELS, PREFIX, QUIETABLE, Audience
from segops.core.errors import DefinitionError
from segops.core.rules.parsing import Context as Source
from segops.schemas.audiences import read_audience
from segops.schemas.written import read_yaml

_FORM: Final = "the form"
#: The most destinations that the form has rows for; YAML has no such limit.
DELIVERIES: Final = 6
_RATES: Final = ("frequency", "entries", "exits")

BLANK: Final[Mapping[str, Any]] = {
    "key": "",
    "name": "",
    "description": "",
    "segment": "",
    "channel": "email",
    "purpose": "marketing",
    "suppress": "",
    "hold_out_salt": "",
    "hold_out_percent": "",
    **{f"{name}_{part}": "" for name in _RATES for part in ("at_most", "per")},
    "existing": "only_new",
    **{f"reason_{reason}": "" for reason in QUIETABLE},
    "limit_members": "",
    "limit_share": "",
    "deliver": (),
    "properties": "",
    "goal": "",
    "alert": "",
}


def _flow(value: object) -> str:
    if value is None:
        return ""
    return yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=500
    ).strip()


def fields_of(audience: Audience) -> dict[str, Any]:
    """Return an audience as the values of the form's fields; ``written``: all of it."""
    written = audience.written
    out = written.get("hold_out") or {}
    limits = written.get("limits") or {}
    rates = {
        "frequency": written.get("frequency"),
        **{name: limits.get(name) for name in ("entries", "exits")},
    }
    texts = {name: written.get(name) or default for name, default in BLANK.items() if name in written}
    return {
        **BLANK,
        **{name: value for name, value in texts.items() if isinstance(value, str)},
        "suppress": "\n".join(audience.suppress),
        "properties": "\n".join(audience.properties),
        "hold_out_salt": out.get("salt", ""),
        "hold_out_percent": out.get("percent", ""),
        **{
            f"{name}_{part}": (rate or {}).get(part, "")
            for name, rate in rates.items()
            for part in ("at_most", "per")
        },
        **{f"reason_{reason}": "quiet" for reason, how in audience.reasons.items() if how == "quiet"},
        "limit_members": limits.get("members", ""),
        "limit_share": limits.get("share", ""),
        "deliver": [
            {"to": each.to, "options": _flow(dict(each.options)) if each.options else ""}
            for each in audience.deliver
        ],
        "goal": _flow(audience.goal),
        "alert": _flow(audience.alert),
        "written": dict(written),
    }


def choices_of(context: Context[Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the form offers to choose from."""
    board = context.board
    segments = [key for key, each in sorted(board.definitions.items()) if _is_segment(key, each)]
    known = sorted(board.destinations)
    named = [each["to"] for each in fields["deliver"]]
    rows = [*fields["deliver"], *({"to": "", "options": ""} for _ in range(DELIVERIES))][
        : max(DELIVERIES, len(fields["deliver"]))
    ]
    filled = len(fields["deliver"])
    listed = [*segments, *(each for each in [fields["segment"]] if each and each not in segments)]
    to = [*known, *(each for each in named if each not in known)]
    return {
        "segment_options": [("", "Choose a segment"), *_same(listed)],
        "destination_options": [("", "None"), *_same(to)],
        "channel_options": _same(CHANNELS),
        "reasons": list(QUIETABLE),
        "rows": rows[: max(filled + 1, 2)] if filled < DELIVERIES else rows,
    }


def _same(texts: Iterable[str]) -> list[tuple[str, str]]:
    return [(each, each) for each in texts]


def _is_segment(key: str, definition: Any) -> bool:
    return not key.startswith(PREFIX) and not definition.is_indicator


class AudienceForm(BaseModel):
    """What is posted: the fields, or ``yaml`` instead.

    ``editing``: the key of the audience that is edited, and ``seen``: the edition of it that the person saw.
    """

    model_config = ConfigDict(extra="allow")

    editing: str = ""
    seen: str = ""
    yaml: str = ""

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> AudienceForm:
        """Validate the form, and the audience as files are: each mistake is at its field."""
        found = super().model_validate(obj, **options)
        try:
            found.audience()
        except DefinitionError as error:
            rows = _numbers(found.model_extra or {})
            issues = [("yaml" if found.yaml else _field(each.path, rows), each) for each in error.issues]
            lines = [_detail(field, f"{_rest(each.path, field)}{each.reason}") for field, each in issues]
            raise ValidationError.from_exception_data(cls.__name__, lines) from None
        except FieldError as error:
            raise ValidationError.from_exception_data(
                cls.__name__, [_detail(error.field, str(error))]
            ) from None
        return found

    def audience(self) -> Audience:
        """Return the audience. Raises DefinitionError, FieldError."""
        written = _of_yaml(self.yaml) if self.yaml else _of_fields(self.model_extra or {})
        return read_audience(written, "audience", Source(_FORM))


class FieldError(ValueError):
    """A field of the form that cannot be read at all."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


def _detail(field: str, reason: str) -> InitErrorDetails:
    problem = PydanticCustomError("audience", "{reason}", {"reason": reason})
    return InitErrorDetails(type=problem, loc=(field,), input=None)


#: Path of a mistake in an audience -> the field of the form.
_FIELDS: Final[Mapping[str, str]] = {
    "hold_out.salt": "hold_out_salt",
    "hold_out.percent": "hold_out_percent",
    "hold_out": "hold_out_percent",
    "frequency.per": "frequency_per",
    "frequency": "frequency_at_most",
    "limits.members": "limit_members",
    "limits.share": "limit_share",
    "limits.entries.per": "entries_per",
    "limits.entries": "entries_at_most",
    "limits.exits.per": "exits_per",
    "limits.exits": "exits_at_most",
    **{f"reasons.{reason}": f"reason_{reason}" for reason in QUIETABLE},
}


def _field(path: str, rows: Sequence[int]) -> str:
    """Return the field that a mistake is in. ``rows``: the numbers of the destinations in the form."""
    inner = path.removeprefix("audience").lstrip(".")
    for known, field in _FIELDS.items():
        if inner == known or inner.startswith(f"{known}."):
            return field
    if inner.startswith("deliver["):
        index, _, rest = inner.removeprefix("deliver[").partition("]")
        return f"deliver_{rows[int(index)]}_{'to' if rest in ('', '.to') else 'options'}"
    return inner.partition(".")[0].partition("[")[0] or "key"


def _rest(path: str, field: str) -> str:
    """Return which part of a field a mistake is in, for fields that hold more than one value."""
    inner = path.removeprefix("audience").lstrip(".")
    return (
        f"{inner}: "
        if field in ("yaml", "suppress", "properties", "goal", "alert") and inner != field
        else ""
    )


def _of_yaml(text: str) -> dict[str, Any]:
    """Return the audience of a text: alone, or the only one of a file."""
    try:
        found = read_yaml(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise FieldError("yaml", f"no YAML: {error}") from None
    if isinstance(found, dict) and "audiences" in found:
        listed = found["audiences"]
        if not isinstance(listed, list) or len(listed) != 1:
            raise FieldError("yaml", "expected one audience")
        found = listed[0]
    if not isinstance(found, dict):
        raise FieldError("yaml", "expected an audience: a map with key, segment and channel")
    return found


def _of_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the audience that the fields describe, without what was left empty."""
    texts = {name: value.strip() for name, value in given.items() if isinstance(value, str)}

    def text(name: str) -> str:
        return texts.get(name, "")

    limits = {
        "members": _number(text("limit_members")),
        "share": text("limit_share"),
        **{name: _rate(texts, name) for name in ("entries", "exits")},
    }
    written = {
        "key": text("key"),
        "name": text("name"),
        "description": text("description"),
        "segment": text("segment"),
        "channel": text("channel"),
        "purpose": text("purpose") if text("purpose") != "marketing" else "",
        "suppress": _lines(text("suppress")),
        "hold_out": _filled({"salt": text("hold_out_salt"), "percent": _number(text("hold_out_percent"))}),
        "frequency": _rate(texts, "frequency"),
        "existing": text("existing") if text("existing") != "only_new" else "",
        "reasons": _filled({reason: text(f"reason_{reason}") for reason in QUIETABLE}),
        "limits": _filled(limits),
        "deliver": _deliveries(texts),
        "properties": _lines(text("properties")),
        "goal": _node(texts, "goal"),
        "alert": _node(texts, "alert"),
    }
    required = {name: written[name] for name in ("key", "segment", "channel")}
    return {**required, **_filled(written)}


def _filled(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in ("", None, [], {})}


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _number(text: str) -> Any:
    """Return a number as JSON has it; anything else as it is, for the reader of audiences to refuse."""
    plain = text.replace(",", "")
    try:
        found = msgspec.json.decode(plain.encode())
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return text
    return found if isinstance(found, (int, float)) and not isinstance(found, bool) else text


def _rate(texts: Mapping[str, str], name: str) -> dict[str, Any]:
    values = {"at_most": _number(texts.get(f"{name}_at_most", "")), "per": texts.get(f"{name}_per", "")}
    return _filled(values)


def _numbers(given: Mapping[str, Any]) -> list[int]:
    """Return the numbers of the destinations that are filled in, in order."""
    named = (name.removeprefix("deliver_").partition("_")[0] for name, value in given.items() if value)
    return sorted({int(each) for each in named if each.isascii() and each.isdecimal() and len(each) < 4})


def _deliveries(texts: Mapping[str, str]) -> list[dict[str, Any]]:
    found = []
    for number in _numbers(texts):
        name = f"deliver_{number}_options"
        options = _node(texts, name) or {}
        if not isinstance(options, dict) or "to" in options:
            raise FieldError(name, "expected options as {name: value}")
        found.append({"to": texts.get(f"deliver_{number}_to", ""), **options})
    return found


def _node(texts: Mapping[str, str], name: str) -> Any:
    """Return what is written in YAML in a field; None if it is empty."""
    text = texts.get(name, "")
    if not text:
        return None
    try:
        return read_yaml(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise FieldError(name, f"no YAML: {error}") from None
