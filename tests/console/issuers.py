"""An issuer of OpenID Connect on loopback, which is strict, and misbehaves as a test says."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from .helpers import NOW_MS

CLIENT, CLIENT_SECRET = "segops", "client/secret+of the tests"
KEY, OTHER_KEY = RSAKey.generate_key(2048, {"kid": "one"}), RSAKey.generate_key(2048, {"kid": "two"})


def same(claims: dict[str, Any]) -> dict[str, Any]:
    return claims


def signed_with_secret(header: Mapping[str, Any], claims: Mapping[str, Any], secret: bytes) -> str:
    """Sign by hand: the library refuses to misuse a public key."""
    head, body = (encoded(json.dumps(each).encode()) for each in (header, claims))
    return f"{head}.{body}.{encoded(hmac.digest(secret, f'{head}.{body}'.encode(), 'sha256'))}"


def encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Signs ``claims`` in, once per code; ``changed`` makes of the ID token's claims what a test wants."""

    def __init__(self) -> None:
        self.url = ""
        self.claims: dict[str, Any] = {"email": "ann@shop.example", "groups": ["all", "editor"]}
        self.changed: Callable[[dict[str, Any]], dict[str, Any]] = same
        self.key = KEY
        self.shared_secret: bytes | None = None
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "one"}
        self.published = [KEY]
        self.configuration: dict[str, Any] = {}
        self.token_answer: web.Response | None = None
        self.asked: list[str] = []
        self._codes: dict[str, Mapping[str, str]] = {}
        self.app = web.Application()
        self.app.router.add_get("/.well-known/openid-configuration", self._configuration)
        self.app.router.add_get("/jwks", self._jwks)
        self.app.router.add_post("/token", self._token)

    async def _configuration(self, _request: web.Request) -> web.Response:
        self.asked.append("configuration")
        found = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
        }
        return web.json_response({**found, **self.configuration})

    async def _jwks(self, _request: web.Request) -> web.Response:
        self.asked.append("jwks")
        keys = KeySet(self.published).as_dict(private=False)["keys"]
        return web.json_response({"keys": [{"kty": "AKP", "kid": "new", "alg": "ML-DSA-44"}, *keys]})

    def authorize(self, address: str) -> dict[str, str]:
        """Check a request to sign in as a browser brings it, and return what the browser brings back."""
        parts = urlsplit(address)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{self.url}/authorize"
        assert (query["response_type"], query["client_id"]) == ("code", CLIENT)
        assert query["redirect_uri"] == "http://127.0.0.1/oidc/callback"
        assert "openid" in query["scope"].split() and query["code_challenge_method"] == "S256"
        assert len(query["state"]) > 30 and len(query["nonce"]) > 30 and query["state"] != query["nonce"]
        code = secrets.token_urlsafe(9)
        self._codes[code] = query
        return {"code": code, "state": query["state"]}

    async def _token(self, request: web.Request) -> web.Response:
        self.asked.append("token")
        if self.token_answer is not None:
            return self.token_answer
        form = await request.post()
        begun = self._codes.pop(str(form["code"]), None)
        if begun is None or not self._is_client(request):
            return web.json_response({"error": "invalid_grant"}, status=400)
        verifier = str(form["code_verifier"])
        challenge = encoded(hashlib.sha256(verifier.encode()).digest())
        assert challenge == begun["code_challenge"] and len(verifier) >= 43
        assert form["redirect_uri"] == begun["redirect_uri"] and form["grant_type"] == "authorization_code"
        now_s = NOW_MS // 1000
        claims = {"iss": self.url, "sub": "s1", "aud": CLIENT, "exp": now_s + 300, "iat": now_s}
        claims |= {"nonce": begun["nonce"], **self.claims}
        claims = {name: value for name, value in self.changed(claims).items() if value is not None}
        if self.shared_secret is None:
            token = jwt.encode(self.header, claims, self.key, algorithms=[self.header["alg"]])
        else:
            token = signed_with_secret({**self.header, "alg": "HS256"}, claims, self.shared_secret)
        return web.json_response({"access_token": "a", "token_type": "Bearer", "id_token": token})

    @staticmethod
    def _is_client(request: web.Request) -> bool:
        scheme, _, pair = request.headers.get("Authorization", "").partition(" ")
        expected = "segops:client%2Fsecret%2Bof+the+tests"
        return scheme == "Basic" and b64decode(pair).decode() == expected
