"""Settings of audiences: who acts, who approves, and the keys that sign what was done."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, SecretStr

from segops.config.base import SettingsSection, setting
from segops.config.types import Token

#: What the names of actors begin with that are no persons.
AI: Final = "ai:"
_ACTOR: Final = re.compile(rf"({AI})?[A-Za-z0-9][A-Za-z0-9._@+-]{{0,99}}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_CONSENT: Final = re.compile(r"([^\s,{}]|\{purpose\}|\{channel\})+")
_LEAST_KEY: Final = 32
_NONE: Final = "none"


def is_actor(text: str) -> bool:
    """Return whether this can be the name of an actor.

    >>> is_actor("ann@shop.example"), is_actor("ai:drafter"), is_actor("Ann Example")
    (True, True, False)
    """
    return _ACTOR.fullmatch(text) is not None


def _actor(text: str) -> str:
    if not is_actor(text):
        raise ValueError(f"expected a name such as ann@shop.example, or {AI}NAME for an AI")
    return text


def _actors(text: SecretStr) -> SecretStr:
    for pair in text.get_secret_value().split(","):
        name, equals, hashed = pair.strip().partition("=")
        if not equals or not is_actor(name) or _HASH.fullmatch(hashed) is None:
            raise ValueError("expected name=hash pairs separated by commas; a hash is a SHA-256 in 64 digits")
    return text


def _keys(text: SecretStr) -> SecretStr:
    if any(len(each) < _LEAST_KEY for each in text.get_secret_value().split(",")):
        raise ValueError(f"expected at least {_LEAST_KEY} characters for each key")
    return text


def _consent(text: str) -> str:
    if text != _NONE and not all(_CONSENT.fullmatch(each.strip()) for each in text.split(",")):
        raise ValueError("expected paths of traits separated by commas, with {purpose} or {channel}, or none")
    return text


class AudienceSettings(SettingsSection):
    """The workspace's rules for audiences, and who acts in this process."""

    consent: Annotated[str, AfterValidator(_consent)] = setting(
        "AUDIENCE_CONSENT",
        "consent.{purpose}",
        "Traits that must be true for each member of an audience, separated by commas; `none` asks for none.",
    )
    approval: Literal["self", "other"] = setting(
        "APPROVAL", "self", "Who may approve an audience: self (anyone) or other (not those who edited it)."
    )
    actor: Annotated[str, AfterValidator(_actor)] | None = setting(
        "ACTOR", None, "Who acts, for commands that change audiences; a name that begins with ai: is an AI's."
    )
    actor_token: Token | None = setting(
        "ACTOR_TOKEN", None, "Token of the actor, where SEGOPS_ACTORS is set."
    )
    actors: Annotated[SecretStr, AfterValidator(_actors)] | None = setting(
        "ACTORS",
        None,
        "Actors as name=hash pairs separated by commas: the SHA-256 of each token. No one else may act.",
    )
    audit_key: Annotated[SecretStr, AfterValidator(_keys)] | None = setting(
        "AUDIT_KEY", None, "Key of at least 32 characters that signs approvals and the audit."
    )
    audit_former_keys: Annotated[SecretStr, AfterValidator(_keys)] | None = setting(
        "AUDIT_FORMER_KEYS",
        None,
        "Former keys of the audit, separated by commas: they verify and do not sign.",
    )

    @property
    def consents(self) -> tuple[str, ...]:
        """The traits that must be true, as templates."""
        return () if self.consent == _NONE else tuple(each.strip() for each in self.consent.split(","))

    @property
    def token_hashes(self) -> Mapping[str, str]:
        """The SHA-256 of each actor's token, by name; empty where no actors are set."""
        if self.actors is None:
            return {}
        pairs = (each.strip().partition("=") for each in self.actors.get_secret_value().split(","))
        return {name: hashed for name, _, hashed in pairs}

    @property
    def signing_key(self) -> bytes | None:
        """The key that signs."""
        return None if self.audit_key is None else self.audit_key.get_secret_value().encode()

    @property
    def verifying_keys(self) -> tuple[bytes, ...]:
        """The keys that verify signatures: the present one and the former ones."""
        former = "" if self.audit_former_keys is None else self.audit_former_keys.get_secret_value()
        keys = [self.signing_key or b"", *(each.encode() for each in former.split(","))]
        return tuple(key for key in keys if key)
