"""Google as a destination: forms, key files, options, checks, previews and addresses."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from segops.core.errors import DefinitionError, UserError
from segops.destinations.kinds import form_of
from segops.destinations.port import Adapter, DestinationRefuses, Person

from .adapters import message, opened
from .google_runs import LIST, WRITTEN, hashed, run
from .google_server import KEY, GoogleStandIn, key_file, pem_of
from .rate_scale import short_seconds

__all__ = ["short_seconds"]


def test_people_are_known_as_google_knows_them() -> None:
    adapter = opened(WRITTEN, key_file("https://oauth2.googleapis.com"))
    found = {
        email: adapter.address_of(Person("p", email=email))
        for email in (" A.n.n+x@Gmail.com ", "a.nn@googlemail.com", "A.n n+x@Shop.example", " ")
    }
    assert [*found.values()] == ["ann@gmail.com", "ann@googlemail.com", "a.nn+x@shop.example", None]
    assert adapter.address_of(Person("p")) is None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "missing option audience"),
        ({"audience": "../x"}, "expected the number of a Customer Match list, got '../x'"),
        ({"audience": True}, "expected the number of a Customer Match list, got True"),
        ({"audience": "\u0663"}, "expected the number of a Customer Match list"),
    ],
)
def test_options_are_validated(options: Any, reason: str) -> None:
    server = GoogleStandIn("55")

    async def send(adapter: Adapter) -> None:
        await adapter.send([message(1, "ann")], options)

    with pytest.raises(DestinationRefuses, match=reason):
        run(server, send)
    assert server.calls == []


@pytest.mark.parametrize(
    "written",
    [
        {"account": "123-456-7890"},
        {"login_account": ""},
        {"customer_match_terms": "rejected"},
        {"ad_user_data": "yes"},
        {"identify_by": "user_id"},
        {"url": "http://datamanager.googleapis.com"},
        {"key": "{}"},
        {"x": 1},
    ],
)
def test_forms_are_validated(written: Any) -> None:
    with pytest.raises(DefinitionError, match=next(iter(written))):
        form_of({"name": "g", **WRITTEN, **written}, "d.yaml", "destinations[0]")


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("not JSON", "expected the key file of a service account"),
        ("{}", "expected the key file of a service account"),
        (key_file("https://a", type="authorized_user"), "expected the key file of a service account"),
        (key_file("http://oauth2.googleapis.com"), "expected the key file of a service account"),
        (key_file("https://a", private_key="no PEM"), "expected an RSA key in PEM"),
        (
            key_file("https://a", private_key=pem_of(generate_ec_key(SECP256R1()))),
            "expected an RSA key in PEM",
        ),
    ],
)
def test_an_invalid_key_file_is_not_shown(file: str, reason: str) -> None:
    with pytest.raises(UserError, match=f"d: {reason}") as failed:
        opened(WRITTEN, file)
    assert len(str(failed.value)) < 100


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, *more: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return imported(name, *more)

    imported = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UserError, match=r"pip install 'segops-engine\[google\]'"):
        opened(WRITTEN, key_file("https://a"))


def test_a_check_changes_nothing() -> None:
    server = GoogleStandIn("55")
    options: list[Any] = [{}, LIST, {"audience": 56}, {"audience": "x"}]

    async def check(adapter: Adapter) -> list[list[bool]]:
        return [[each.ok for each in await adapter.check(some)] for some in options]

    assert run(server, check) == [[True], [True, True], [True, False], [True, False]]
    assert server.lists == {"55": set()}
    assert [each["validateOnly"] for each in server.bodies] == [True, True]
    server.broken = {hashed("check@segops.invalid")}
    assert run(server, check)[1] == [True, False]
    other = generate_private_key(public_exponent=65_537, key_size=2_048)
    assert run(server, check, file=lambda url: key_file(url, key=other))[1] == [False]


def test_a_preview_shows_hashes_and_sends_nothing() -> None:
    server = GoogleStandIn("55")

    async def preview(adapter: Adapter) -> Any:
        assert adapter.members(LIST) is None
        return adapter.preview(
            [message(1, "ann"), message(2, "b", "updated"), message(3, "c", "exited")], LIST
        )

    found = run(server, preview)
    assert [each.url.rpartition("/")[2] for each in found] == [
        "audienceMembers:ingest",
        "audienceMembers:remove",
    ]
    assert hashed("ann@shop.example") in str(found[0].body) and hashed("c@shop.example") in str(found[1].body)
    assert "@shop" not in repr(found) and pem_of(KEY)[40:80] not in repr(found)
    assert server.calls == []
