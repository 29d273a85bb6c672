"""Sources of events: their write keys, origins, rates, and how their senders' addresses are handled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from segops.api.keys import NAME, ORIGIN, KeySetting, key_pairs, read_options
from segops.api.rates import TokenBucket
from segops.config import CollectSettings
from segops.core.errors import UserError

_KEYS: Final = "SEGOPS_COLLECT_KEYS"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Options(_Model):
    name: Annotated[str, Field(pattern=f"^{NAME}$")]
    origins: list[Annotated[str, Field(pattern=f"^{ORIGIN}$")]] | None = None
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
    keys = KeySetting(_KEYS, settings.keys, settings.keys_file, "source", "write key")
    pairs = list(key_pairs(keys))
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


def _options(path: Path | None) -> dict[str, _Options]:
    if path is None:
        return {}
    found = read_options(path, _File)
    by_name = {each.name: each for each in found.sources}
    if len(by_name) < len(found.sources):
        raise UserError(f"{path}: sources: duplicate name")
    return by_name
