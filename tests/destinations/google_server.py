"""A strict stand-in of the part of Google that keeps Customer Match lists: tokens, and the Data Manager API.

Sources. Google's documentation of the Data Manager API: ``audienceMembers.ingest`` and ``.remove`` (fields of
requests, closed objects here; ``validateOnly``; ``requestId``), "Configure destinations" (``loginAccount``),
"Limits and quotas" (10,000 members; 300 requests a minute that write; 429), "Format user data" (SHA-256 in
hexadecimal digits), "Terms of service" (must be accepted when members are ingested), "Understand API errors"
(``fieldViolations`` with reasons), and the Discovery document. "Using OAuth 2.0 for Server to Server
Applications": the claims of an assertion, RS256, tokens of an hour, ``invalid_grant``. RudderStack's
integration: ``INVALID_USER_LIST_TYPE`` at ``audience_members[0]``.

Unverified against the service: that ``validateOnly`` finds a list that is gone, the paths in ``field``, that
all violations of a request are reported at once, and ``Retry-After``.
"""

from __future__ import annotations

import base64
import json
import re
import time
from typing import Any

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jsonschema import Draft202012Validator

from .stand_in import StandInServer

EMAIL = "segops@project.iam.example"
FAULTS = ("429", "500", "reset", "lost", "cut")
KEY = generate_private_key(public_exponent=65_537, key_size=2_048)
_SCOPE = "https://www.googleapis.com/auth/datamanager"


def pem_of(key: Any) -> str:
    """Return a private key as it stands in key files."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def key_file(server: str, *, key: RSAPrivateKey = KEY, **changed: Any) -> str:
    """Return the key file of the service account."""
    file = {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "key-1",
        "private_key": pem_of(key),
        "client_email": EMAIL,
        "token_uri": f"{server}/token",
    }
    return json.dumps(file | changed)


def _closed(required: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": fields,
        "required": required.split(),
        "additionalProperties": False,
    }


_HASH = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_ACCOUNT = _closed(
    "accountType accountId",
    accountType={"enum": ["GOOGLE_ADS", "DISPLAY_VIDEO_ADVERTISER"]},
    accountId={"type": "string", "pattern": "^[0-9]+$"},
)
_DESTINATION = _closed(
    "operatingAccount productDestinationId",
    operatingAccount=_ACCOUNT,
    loginAccount=_ACCOUNT,
    productDestinationId={"type": "string", "pattern": "^[0-9]+$"},
)
_IDENTIFIER = _closed("", emailAddress=_HASH, phoneNumber=_HASH) | {"minProperties": 1, "maxProperties": 1}
_IDENTIFIERS = {"type": "array", "minItems": 1, "maxItems": 10, "items": _IDENTIFIER}
_MEMBER = _closed("userData", userData=_closed("userIdentifiers", userIdentifiers=_IDENTIFIERS))
_SAID = {"enum": ["CONSENT_GRANTED", "CONSENT_DENIED"]}
_REMOVED = {
    "destinations": {"type": "array", "minItems": 1, "maxItems": 10, "items": _DESTINATION},
    "audienceMembers": {"type": "array", "minItems": 1, "maxItems": 10_000, "items": _MEMBER},
    "encoding": {"const": "HEX"},
    "validateOnly": {"type": "boolean"},
}
_TERMS = _closed("customerMatchTermsOfServiceStatus", customerMatchTermsOfServiceStatus={"const": "ACCEPTED"})
_CONSENT = _closed("", adUserData=_SAID, adPersonalization=_SAID) | {"minProperties": 1}
BODIES = {
    "ingest": Draft202012Validator(
        _closed(
            "destinations audienceMembers encoding termsOfService",
            **_REMOVED,
            consent=_CONSENT,
            termsOfService=_TERMS,
        )
    ),
    "remove": Draft202012Validator(_closed("destinations audienceMembers encoding", **_REMOVED)),
}


class ApiError(Exception):
    """An error of the API. ``violations``: fields, each with its reason."""

    def __init__(self, status: int, name: str, *violations: tuple[str, str]) -> None:
        super().__init__(name)
        self.status = status
        fields = [{"field": field, "description": "x", "reason": reason} for field, reason in violations]
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": name}
        bad = {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": fields}
        error = {"code": status, "message": "There was a problem with the request.", "status": name}
        self.document = {"error": error | {"details": [info, *([bad] if fields else [])]}}


class GoogleStandIn(StandInServer):
    """Lists of hashes. ``broken``: hashes that are refused, ``refuses``: the reason why all are refused."""

    def __init__(self, *lists: str) -> None:
        super().__init__()
        self.lists: dict[str, set[str]] = {each: set() for each in lists}
        self.broken: set[str] = set()
        self.refuses: tuple[int, str, tuple[str, str]] | None = None
        self.one_violation = False
        self.bodies: list[dict[str, Any]] = []
        self.tokens: list[str] = []
        self.lasts_s = 3_600.0
        self.rates = {
            path: {60: 300} for path in ("/v1/audienceMembers:ingest", "/v1/audienceMembers:remove")
        }

    async def carry_out(self, request: web.Request, fault: str) -> web.Response:
        """Answer a request that arrives."""
        if fault in ("429", "500") or self.is_over(request.path):
            return web.Response(status=int(fault or 429), headers=self.throttle())
        try:
            if request.path == "/token":
                return web.json_response(self._token(dict(await request.post())))
            return web.json_response(self._changed(request, await request.read()))
        except ApiError as error:
            return web.json_response(error.document, status=error.status)

    # -- tokens ----------------------------------------------------------------------------------------

    def _token(self, form: dict[str, Any]) -> dict[str, Any]:
        assertion = form.pop("assertion")
        self._require(form == {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}, f"form {form}")
        content, _, signature = assertion.rpartition(".")
        header, claims = (json.loads(_decoded(part)) for part in content.split("."))
        self._require(header == {"alg": "RS256", "typ": "JWT", "kid": "key-1"}, f"header {header}")
        try:
            KEY.public_key().verify(_decoded(signature), content.encode(), PKCS1v15(), SHA256())
        except InvalidSignature:
            raise ApiError(400, f"invalid_grant {assertion}") from None
        issued_s, ends_s = claims.pop("iat"), claims.pop("exp")
        self._require(issued_s <= time.time() + 60 < ends_s <= issued_s + 3_660, f"{issued_s} {ends_s}")
        self._require(claims.pop("aud").endswith("/token"), "aud")
        self._require(claims == {"iss": EMAIL, "scope": _SCOPE}, f"claims {claims}")
        self.tokens.append(f"ya29.stand-in-{len(self.tokens)}-0123456789")
        return {"access_token": self.tokens[-1], "expires_in": self.lasts_s, "token_type": "Bearer"}

    def revoke(self) -> None:
        """End the latest token."""
        self.tokens[-1] = "revoked"

    # -- lists -----------------------------------------------------------------------------------------

    def _changed(self, request: web.Request, content: bytes) -> dict[str, Any]:
        given = request.headers.get("authorization", "")
        if not self.tokens or given != f"Bearer {self.tokens[-1]}":
            raise ApiError(401, f"UNAUTHENTICATED {given}")
        self._require(request.content_type == "application/json", request.content_type)
        verb, body = request.path.rpartition(":")[2], json.loads(content)
        self.bodies.append(body)
        for error in BODIES[verb].iter_errors(body):
            self._require(False, error.message)
        if self.refuses is not None:
            raise ApiError(self.refuses[0], self.refuses[1], self.refuses[2])
        (destination,) = body["destinations"]
        audience = destination["productDestinationId"]
        if audience not in self.lists:
            raise ApiError(400, "INVALID_ARGUMENT", ("destinations[0]", "INVALID_USER_LIST_ID"))
        hashes = [
            next(iter(each["userData"]["userIdentifiers"][0].values())) for each in body["audienceMembers"]
        ]
        self._refuse(hashes)
        if not body.get("validateOnly"):
            change = (
                self.lists[audience].update if verb == "ingest" else self.lists[audience].difference_update
            )
            change(hashes)
        return {"requestId": f"r{len(self.bodies)}"}

    def _refuse(self, hashes: list[str]) -> None:
        violations = [
            (f"audience_members.audience_members[{place}].user_data", "INVALID_AUDIENCE_MEMBER")
            for place, each in enumerate(hashes)
            if each in self.broken
        ]
        if violations:
            raise ApiError(400, "INVALID_ARGUMENT", *(violations[:1] if self.one_violation else violations))

    def _require(self, holds: bool, why: str) -> None:
        if not holds:
            self.refused.append(why)
            raise ApiError(400, "INVALID_ARGUMENT", ("request", "INVALID_ARGUMENT"))


def _decoded(text: str) -> bytes:
    assert re.fullmatch(r"[A-Za-z0-9_-]+", text)
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
