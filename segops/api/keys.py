"""Keys that clients of an HTTP server present, as operators write them, and files of options beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, SecretStr, ValidationError

from segops.core.errors import UserError

#: The name of the owner of a key.
NAME: Final = r"[a-z0-9][a-z0-9-]{0,62}"
#: An origin as browsers send it.
ORIGIN: Final = r"https?://[a-z0-9.\-\[\]:]+"
#: Long enough to be replaced in texts without damage, and of characters that JSON never escapes.
_KEY: Final = re.compile(r"[A-Za-z0-9._~+=-]{8,128}")
_MAX_FILE_BYTES: Final = 1 << 20
_Form = TypeVar("_Form", bound=BaseModel)


class KeySetting(NamedTuple):
    """Where keys of one kind are written: a variable, and a file that ``variable`` with ``_FILE`` names.

    ``owner`` and ``kind``: the words for the owner of a key, and for the key.
    """

    variable: str
    inline: SecretStr | None
    file: Path | None
    owner: str
    kind: str


def key_pairs(setting: KeySetting) -> Iterator[tuple[str, str]]:
    """Yield each owner with a key of it. Raises UserError, which never shows a key."""
    known: set[str] = set()
    owner = setting.owner
    for where, text in _written(setting):
        name, equals, key = (each.strip() for each in text.partition("="))
        if not equals or re.fullmatch(NAME, name) is None:
            raise UserError(f"{where}: expected {owner}=key, with a {owner} of a-z, 0-9 and -")
        if _KEY.fullmatch(key) is None:
            raise UserError(
                f"{where}: expected a {setting.kind} of 8 to 128 letters, digits, "
                "'.', '_', '~', '+', '=' and '-'"
            )
        if key in known:
            raise UserError(f"{where}: duplicate {setting.kind}")
        known.add(key)
        yield name, key


def _written(setting: KeySetting) -> Iterator[tuple[str, str]]:
    inline = setting.inline.get_secret_value().split(",") if setting.inline else []
    yield from _numbered(setting.variable, "pair", inline)
    if setting.file is not None:
        lines = _text(setting.file).splitlines()
        yield from _numbered(str(setting.file), "line", (line.partition("#")[0] for line in lines))


def _numbered(where: str, unit: str, texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    yield from ((f"{where}: {unit} {n}", text) for n, text in enumerate(texts, 1) if text.strip())


def read_options(path: Path, form: type[_Form]) -> _Form:
    """Read a YAML file of a form. Raises UserError with every mistake, never with a value."""
    try:
        return form.model_validate(yaml.safe_load(_text(path)))
    except yaml.YAMLError as error:
        mark: Any = getattr(error, "problem_mark", None)
        raise UserError(f"{path}: invalid YAML{f' in line {mark.line + 1}' if mark else ''}") from None
    except ValidationError as error:
        raise UserError("\n".join(_problems(path, error))) from None


def _problems(path: Path, error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_input=False, include_url=False):
        where = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in problem["loc"])
        yield f"{path}: {where.lstrip('.') or 'file'}: {problem['msg']}"


def _text(path: Path) -> str:
    """Return the text of a small file. Raises UserError, also for text that is not UTF-8."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
        if len(data) > _MAX_FILE_BYTES:
            raise UserError(f"{path}: larger than {_MAX_FILE_BYTES:,} bytes")
        return data.decode()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: invalid UTF-8") from None
