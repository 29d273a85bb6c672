"""Sources of events: their write keys, origins, rates, and how their senders' addresses are handled."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segops.collector.rates import TokenBucket
from segops.config import CollectSettings
from segops.core.errors import UserError

_NAME: Final = r"[a-z0-9][a-z0-9-]{0,62}"
#: Long enough to be replaced in texts without damage, and of characters that JSON never escapes.
_KEY: Final = re.compile(r"[A-Za-z0-9._~+=-]{8,128}")
_ORIGIN: Final = r"https?://[a-z0-9.\-\[\]:]+"
_MAX_FILE_BYTES: Final = 1 << 20
_KEYS: Final = "SEGOPS_COLLECT_KEYS"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Options(_Model):
    name: Annotated[str, Field(pattern=f"^{_NAME}$")]
    origins: list[Annotated[str, Field(pattern=f"^{_ORIGIN}$")]] | None = None
    rate: Annotated[float, Field(gt=0, strict=False)] | None = None
    ip: Literal["keep", "drop"] | None = None


class _File(_Model):
    version: Literal[1]
    sources: list[_Options]


class Source:
    """Where events come from, by the write key that they were sent with.

    ``origins``: the web pages that may send, or None for any; senders that are no browsers name none.
    """

    def __init__(
        self, name: str, *, rate: float, origins: frozenset[str] | None, keeps_ip: bool, now_s: float
    ) -> None:
        self.name = name
        self.origins = origins
        self.keeps_ip = keeps_ip
        self.bucket = TokenBucket(rate, now_s=now_s)

    def allows(self, origin: str | None) -> bool:
        """Return whether a page of ``origin`` (None: no page) may send."""
        return origin is None or self.origins is None or origin.lower() in self.origins


class Sources:
    """The sources by their write keys, which appear nowhere else: in no log, topic or error."""

    def __init__(self, by_key: Mapping[str, Source]) -> None:
        self._by_key = dict(by_key)
        self.keys = tuple(key.encode() for key in self._by_key)

    def get(self, key: str) -> Source | None:
        """Return the source that a write key belongs to."""
        return self._by_key.get(key)

    @property
    def names(self) -> list[str]:
        """The names of the sources."""
        return sorted({source.name for source in self._by_key.values()})


def load_sources(settings: CollectSettings, *, now_s: float) -> Sources:
    """Return the sources in the settings. Raises UserError, which never shows a key."""
    pairs = list(_pairs(settings))
    if not pairs:
        raise UserError(f"no write keys: set {_KEYS} or {_KEYS}_FILE to source=key pairs")
    options = _options(settings.sources_file)
    unused = sorted(options.keys() - {name for name, _ in pairs})
    if unused:
        raise UserError(f"{settings.sources_file}: sources without a write key: {', '.join(unused)}")
    sources = {
        name: _source(options.get(name, _Options(name=name)), settings, now_s)
        for name in dict.fromkeys(name for name, _ in pairs)
    }
    return Sources({key: sources[name] for name, key in pairs})


def _source(options: _Options, settings: CollectSettings, now_s: float) -> Source:
    return Source(
        options.name,
        rate=options.rate or settings.rate,
        origins=None if options.origins is None else frozenset(options.origins),
        keeps_ip=(options.ip or settings.ip) == "keep",
        now_s=now_s,
    )


def _pairs(settings: CollectSettings) -> Iterator[tuple[str, str]]:
    """Yield each source with a key of it. Raises UserError."""
    known: set[str] = set()
    for where, text in _written(settings):
        name, equals, key = (each.strip() for each in text.partition("="))
        if not equals or re.fullmatch(_NAME, name) is None:
            raise UserError(f"{where}: expected source=key, with a source of a-z, 0-9 and -")
        if _KEY.fullmatch(key) is None:
            raise UserError(
                f"{where}: expected a write key of 8 to 128 letters, digits, '.', '_', '~', '+', '=' and '-'"
            )
        if key in known:
            raise UserError(f"{where}: duplicate write key")
        known.add(key)
        yield name, key


def _written(settings: CollectSettings) -> Iterator[tuple[str, str]]:
    inline = settings.keys.get_secret_value().split(",") if settings.keys else []
    yield from _numbered(_KEYS, "pair", inline)
    if settings.keys_file is not None:
        lines = _text(settings.keys_file).splitlines()
        yield from _numbered(str(settings.keys_file), "line", (line.partition("#")[0] for line in lines))


def _numbered(where: str, unit: str, texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    yield from ((f"{where}: {unit} {n}", text) for n, text in enumerate(texts, 1) if text.strip())


def _options(path: Path | None) -> dict[str, _Options]:
    if path is None:
        return {}
    try:
        found = _File.model_validate(yaml.safe_load(_text(path)))
    except yaml.YAMLError as error:
        mark: Any = getattr(error, "problem_mark", None)
        raise UserError(f"{path}: invalid YAML{f' in line {mark.line + 1}' if mark else ''}") from None
    except ValidationError as error:
        raise UserError("\n".join(_problems(path, error))) from None
    by_name = {each.name: each for each in found.sources}
    if len(by_name) < len(found.sources):
        raise UserError(f"{path}: sources: duplicate name")
    return by_name


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
