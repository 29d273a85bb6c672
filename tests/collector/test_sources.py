"""Write keys and sources as operators write them, and every mistake in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from segops.collector.sources import Sources, load_sources
from segops.config import load
from segops.core.errors import UserError

KEYS = "website=wk-website-1, backend=wk-backend-1,website=wk-website-2"


def sources(tmp_path: Path, *, keys: str | None = KEYS, file: str = "", options: str = "") -> Sources:
    given: dict[str, object] = {"keys": keys}
    for name, text in (("keys_file", file), ("sources_file", options)):
        if text:
            (tmp_path / name).write_text(text)
            given[name] = tmp_path / name
    return load_sources(load(collect=given).collect, now_s=0.0)


def test_source_may_have_several_keys_for_their_rotation(tmp_path: Path) -> None:
    found = sources(tmp_path, file="# of the app\napp = wk-app-000001 # since May\n\n")
    assert found.names == ["app", "backend", "website"]
    assert found.get("wk-website-1") is found.get("wk-website-2")
    assert found.get("wk-app-000001").name == "app"
    assert found.get("website") is None


def test_options_apply_to_the_source_that_they_name(tmp_path: Path) -> None:
    options = """
version: 1
sources:
  - name: website
    origins: [https://shop.example, 'http://localhost:3000']
    rate: 5
    ip: drop
"""
    found = sources(tmp_path, options=options)
    website, backend = found.get("wk-website-1"), found.get("wk-backend-1")
    assert not website.keeps_ip and backend.keeps_ip
    assert website.allows("http://localhost:3000") and not website.allows("http://localhost")
    assert backend.allows("http://localhost")
    assert website.bucket.take(10, now_s=0) == 0
    assert website.bucket.take(1, now_s=0) == 1
    assert backend.bucket.take(10, now_s=0) == backend.bucket.take(1, now_s=0) == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keys": None}, "no write keys: set SEGOPS_COLLECT_KEYS"),
        ({"keys": " , "}, "no write keys"),
        ({"keys": "secret-key"}, "SEGOPS_COLLECT_KEYS: pair 1: expected source=key"),
        ({"keys": "Web Site=secret-key"}, "SEGOPS_COLLECT_KEYS: pair 1: expected source=key"),
        ({"keys": "a=secret1,b=secret-2"}, "pair 1: expected a write key of 8 to 128"),
        ({"keys": "a=secret:key"}, "pair 1: expected a write key"),
        ({"keys": "a=secret-key,b=secret-key"}, "pair 2: duplicate write key"),
        ({"file": "\na\n"}, "keys_file: line 2: expected source=key"),
        ({"file": "b=wk-website-1"}, "keys_file: line 1: duplicate write key"),
        ({"options": "version: 1\nsources: [{name: shop}]"}, "sources without a write key: shop"),
        ({"options": "version: 1\nsources: [{name: website}, {name: website}]"}, "duplicate name"),
        ({"options": "version: 1\nsources: [{name: website, rate: 0}]"}, "sources[0].rate: Input should be"),
        ({"options": "version: 1\nsources: [{name: website, origins: [shop]}]"}, "sources[0].origins[0]: "),
        ({"options": "version: 1\nsources: [{name: website, key: secret-key}]"}, "sources[0].key: Extra"),
        ({"options": "version: 2\nsources: []"}, "version: Input should be 1"),
        ({"options": "- secret-key"}, "file: Input should be a valid dictionary"),
        ({"options": "a: [secret-key"}, "invalid YAML in line 1"),
    ],
)
def test_mistakes_are_named_without_showing_a_key(
    tmp_path: Path, given: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError) as raised:
        sources(tmp_path, **given)
    assert message in str(raised.value)
    assert "secret" not in str(raised.value)


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    with pytest.raises(UserError, match="keys: No such file"):
        load_sources(load(collect={"keys_file": file}).collect, now_s=0.0)
    file.write_bytes(b"\xff")
    with pytest.raises(UserError, match="keys: invalid UTF-8"):
        load_sources(load(collect={"keys_file": file}).collect, now_s=0.0)
