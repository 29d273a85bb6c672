"""ID tokens: their signature and claims. The only module that needs the extra ``oidc``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from segops.core.errors import UserError

Claims = Mapping[str, Any]
#: Signatures with keys that the issuer alone has; never "none", never the client's secret.
ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "Ed25519",
    "EdDSA",
)
_LEEWAY_S: Final = 60
_MAX_TOKEN: Final = 64 << 10


def check_installed() -> None:
    """Raise UserError without the packages of the extra."""
    try:
        import joserfc  # noqa: F401 - only whether it is there
    except ImportError:
        raise UserError("SEGOPS_CONSOLE_OIDC_ISSUER requires `pip install 'segops-engine[oidc]'`") from None


def verified(token: str, keys: Mapping[str, Any], *, issuer: str, audience: str, now_s: int) -> Claims | None:
    """Return the claims of an ID token; None if no key of the set has signed it.

    Raises ValueError for a token that is signed and yet not one to sign in with here.
    """
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet

    if len(token) > _MAX_TOKEN:
        raise ValueError("the ID token is too long")
    try:
        usable = [key for key in keys.get("keys", []) if _is_usable(key)]
        found = jwt.decode(token, KeySet.import_key_set({"keys": usable}), algorithms=ALGORITHMS)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return None
    claims: Claims = found.claims
    registry = jwt.JWTClaimsRegistry(
        now=now_s,
        leeway=_LEEWAY_S,
        iss={"essential": True, "value": issuer},
        sub={"essential": True},
        aud={"essential": True, "value": audience},
        exp={"essential": True},
        iat={"essential": True},
        nonce={"essential": True},
    )
    try:
        registry.validate(dict(claims))
    except JoseError as error:
        raise ValueError(f"the ID token is not valid here: {error}") from None
    aud, azp = claims["aud"], claims.get("azp")
    if (isinstance(aud, list) and len(aud) > 1 and azp is None) or azp not in (None, audience):
        raise ValueError("the ID token is for another client")
    return claims


def _is_usable(key: Any) -> bool:
    """Return whether a key of an issuer may be of a signature; those of unknown kinds are passed over."""
    return isinstance(key, dict) and key.get("kty") in ("RSA", "EC", "OKP") and key.get("use", "sig") == "sig"
