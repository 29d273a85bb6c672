"""Who may read: public keys of sites, which browsers present, and secret keys of servers."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from segops.api.keys import NAME, ORIGIN, KeySetting, key_pairs, read_options
from segops.api.rates import TokenBucket
from segops.config import ServeSettings
from segops.core.errors import UserError
from segops.core.identifiers import type_of

_PUBLIC: Final = "SEGOPS_SERVE_KEYS"
_SECRET: Final = "SEGOPS_SERVE_SECRET_KEYS"  # noqa: S105 - the name of a setting
_MIN_SECRET: Final = 20
#: What a public key may ask for unless its site says otherwise: identifiers that are not guessed from names.
IDENTIFIERS: Final = ("user_id", "anonymous_id", "device_id")
_TYPE: Final = r"[A-Za-z0-9_-]{1,64}"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Site(_Model):
    name: Annotated[str, Field(pattern=f"^{NAME}$")]
    origins: Annotated[list[Annotated[str, Field(pattern=f"^{ORIGIN}$")]], Field(min_length=1)]
    identifiers: Annotated[list[Annotated[str, Field(pattern=f"^{_TYPE}$")]], Field(min_length=1)] = [
        *IDENTIFIERS
    ]
    rate: Annotated[float, Field(gt=0, strict=False)] | None = None

    @field_validator("identifiers")
    @classmethod
    def _without_addresses(cls, found: list[str]) -> list[str]:
        if "email" in found:
            raise ValueError("expected no email: anyone could ask about an address")
        return found


class _File(_Model):
    version: Literal[1]
    sites: list[_Site]


class ReadKey:
    """What a key allows. ``client``: its site or server.

    ``secret``: it may ask about anyone, but no page may present it. ``origins``: those of the pages that may
    present it. ``identifiers``: the types that it may ask for.
    """

    def __init__(
        self,
        client: str,
        *,
        rate: float,
        now_s: float,
        secret: bool = False,
        origins: Sequence[str] = (),
        identifiers: Sequence[str] = (),
    ) -> None:
        self.client = client
        self.secret = secret
        self.origins = frozenset(origins)
        self.identifiers = frozenset(identifiers)
        self.bucket = TokenBucket(rate, now_s=now_s)

    def allows_origin(self, origin: str | None) -> bool:
        """Return whether a page of ``origin`` may read; None is a reader that is no page."""
        return origin is None or origin in self.origins

    def allows(self, identifier: str) -> bool:
        """Return whether it may be asked about an identifier."""
        return self.secret or type_of(identifier) in self.identifiers


class ReadKeys:
    """The keys, which appear nowhere else: in no log and no error."""

    def __init__(self, public: Mapping[str, ReadKey], secret: Mapping[str, ReadKey]) -> None:
        self._public = dict(public)
        self._secret = [(key.encode(), of) for key, of in secret.items()]
        #: The origins of all sites.
        self.origins = frozenset(origin for key in public.values() for origin in key.origins)

    def public(self, key: str) -> ReadKey | None:
        """Return what a public key allows; None for any other text."""
        return self._public.get(key)

    def get(self, key: str) -> ReadKey | None:
        """Return what a key allows. The time does not depend on how much of a secret key is right."""
        given = key.encode("utf-8", "surrogateescape")
        found = self._public.get(key)
        for secret, of in self._secret:
            if hmac.compare_digest(given, secret):
                found = of
        return found

    @property
    def clients(self) -> list[str]:
        """The sites and servers, each with what it is."""
        sites = {f"site {each.client}" for each in self._public.values()}
        return sorted(sites | {f"server {each.client}" for _, each in self._secret})


def load_keys(settings: ServeSettings, *, now_s: float) -> ReadKeys:
    """Return the keys in the settings. Raises UserError, which never shows a key."""
    public = list(key_pairs(KeySetting(_PUBLIC, settings.keys, settings.keys_file, "site", "read key")))
    secret = list(_secret_pairs(settings))
    if not public and not secret:
        raise UserError(f"no read keys: set {_PUBLIC} to site=key pairs, or {_SECRET} to server=key pairs")
    if {key for _, key in public} & {key for _, key in secret}:
        raise UserError(f"{_SECRET}: expected other keys than those of {_PUBLIC}")
    sites = _sites(settings.sites_file)
    _check_sites(settings, sites, [name for name, _ in public])
    rate = settings.rate
    return ReadKeys(
        {
            key: ReadKey(
                name,
                rate=sites[name].rate or rate,
                now_s=now_s,
                origins=sites[name].origins,
                identifiers=sites[name].identifiers,
            )
            for name, key in public
        },
        {key: ReadKey(name, rate=rate, now_s=now_s, secret=True) for name, key in secret},
    )


def _secret_pairs(settings: ServeSettings) -> Iterator[tuple[str, str]]:
    written = KeySetting(_SECRET, settings.secret_keys, settings.secret_keys_file, "server", "secret key")
    for name, key in key_pairs(written):
        if len(key) < _MIN_SECRET:
            raise UserError(f"{_SECRET}: {name}: expected a secret key of at least {_MIN_SECRET} characters")
        yield name, key


def _sites(path: Path | None) -> dict[str, _Site]:
    if path is None:
        return {}
    found = read_options(path, _File).sites
    by_name = {each.name: each for each in found}
    if len(by_name) < len(found):
        raise UserError(f"{path}: sites: duplicate name")
    return by_name


def _check_sites(settings: ServeSettings, sites: Mapping[str, _Site], named: Sequence[str]) -> None:
    unused = sorted(sites.keys() - {*named})
    if unused:
        raise UserError(f"{settings.sites_file}: sites without a read key: {', '.join(unused)}")
    missing = sorted({*named} - sites.keys())
    if missing:
        raise UserError(f"SEGOPS_SERVE_SITES: missing the origins of {', '.join(missing)}")
