"""Read keys and sites as operators write them, and every mistake in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from segops.config import load
from segops.core.errors import UserError
from segops.serve.keys import ReadKeys, load_keys

from .helpers import KEY, ORIGIN, OTHER_KEY, OTHER_ORIGIN, SECRET, SITES

GIVEN = {"keys": f"website={KEY}, app={OTHER_KEY}", "secret_keys": f"backend={SECRET}", "sites": SITES}


def keys(folder: Path, **changed: str | None) -> ReadKeys:
    given = {name: text for name, text in {**GIVEN, **changed}.items() if text is not None}
    options: dict[str, object] = dict(given)
    for name, field in (("sites", "sites_file"), ("file", "keys_file"), ("secrets", "secret_keys_file")):
        if name in given:
            (folder / name).write_text(given[name])
            del options[name]
            options[field] = folder / name
    return load_keys(load(serve=options).serve, now_s=0.0)


def test_public_and_secret_keys_are_told_apart(tmp_path: Path) -> None:
    found = keys(tmp_path, file="website = rk-website-2\n", secrets=f"# new\nworker={SECRET}2\n")
    website, backend = found.get(KEY), found.get(SECRET)
    assert website is not None and backend is not None
    assert (website.client, website.secret, website.origins) == ("website", False, {ORIGIN})
    assert (backend.client, backend.secret, backend.origins) == ("backend", True, frozenset())
    assert found.public(KEY) is website and found.public(SECRET) is None
    second = found.get("rk-website-2")
    assert second is not None and second.client == "website"
    assert found.get("website") is None and found.get("") is None and found.get(SECRET[:-1]) is None
    assert found.clients == ["server backend", "server worker", "site app", "site website"]
    assert found.origins == {ORIGIN, OTHER_ORIGIN}


def test_a_key_that_is_no_text_is_unknown(tmp_path: Path) -> None:
    assert keys(tmp_path).get(b"\xff\xfe".decode("utf-8", "surrogateescape")) is None


def test_a_site_says_which_identifiers_and_how_often(tmp_path: Path) -> None:
    found = keys(tmp_path)
    website, app, backend = found.get(KEY), found.get(OTHER_KEY), found.get(SECRET)
    assert website is not None and app is not None and backend is not None
    asked = ["user_id:1", "anonymous_id:1", "email:1"]
    assert [*map(website.allows, asked)] == [True, True, False]
    assert [*map(app.allows, asked)] == [False, True, False]
    assert backend.allows("email:ann@x")
    assert app.bucket.take(4, now_s=0) == 0 and app.bucket.take(1, now_s=0) > 0
    assert website.bucket.take(4, now_s=0) == website.bucket.take(1, now_s=0) == 0


def test_only_the_origins_of_the_site_may_read(tmp_path: Path) -> None:
    website = keys(tmp_path).get(KEY)
    assert website is not None
    assert website.allows_origin(ORIGIN) and website.allows_origin(None)
    others = ["null", f"{ORIGIN}:443", f"{ORIGIN}.evil", "http://shop.example", ORIGIN.upper(), OTHER_ORIGIN]
    assert not any(map(website.allows_origin, others))


def sites(entry: str) -> str:
    return f"version: 1\nsites: [{{name: app, origins: ['{OTHER_ORIGIN}']}}, {{{entry}}}]"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keys": None, "secret_keys": None, "sites": None}, "no read keys: set SEGOPS_SERVE_KEYS"),
        ({"keys": "hidden-key"}, "SEGOPS_SERVE_KEYS: pair 1: expected site=key"),
        ({"keys": "a=hidden"}, "pair 1: expected a read key of 8 to 128"),
        ({"keys": "a=hidden-key,b=hidden-key"}, "pair 2: duplicate read key"),
        ({"secret_keys": "hidden-key"}, "SEGOPS_SERVE_SECRET_KEYS: pair 1: expected server=key"),
        ({"secret_keys": "a=hidden-key"}, "a: expected a secret key of at least 20 characters"),
        ({"secret_keys": f"a={SECRET}", "file": f"app={SECRET}"}, "expected other keys than those of"),
        ({"sites": None}, "SEGOPS_SERVE_SITES: missing the origins of app, website"),
        ({"sites": sites("name: shop, origins: ['https://a.example']")}, "sites without a read key: shop"),
        ({"sites": sites("name: app, origins: ['https://a.example']")}, "sites: duplicate name"),
        ({"sites": sites("name: website")}, "sites[1].origins: Field required"),
        ({"sites": sites("name: website, origins: []")}, "sites[1].origins: List should have at least 1"),
        ({"sites": sites("name: website, origins: ['*']")}, "sites[1].origins[0]: String should match"),
        ({"sites": sites("name: website, origins: ['https://a.example/']")}, "sites[1].origins[0]: "),
        (
            {"sites": sites("name: website, origins: ['https://a.example'], identifiers: [email]")},
            "sites[1].identifiers: Value error, expected no email: anyone could ask about an address",
        ),
        ({"sites": "version: 2\nsites: []"}, "version: Input should be 1"),
        ({"sites": "a: [hidden-key"}, "invalid YAML in line 1"),
    ],
)
def test_mistakes_are_named_without_showing_a_key(
    tmp_path: Path, given: dict[str, str | None], message: str
) -> None:
    with pytest.raises(UserError) as raised:
        keys(tmp_path, **given)
    assert message in str(raised.value)
    assert "hidden" not in str(raised.value) and SECRET not in str(raised.value)
