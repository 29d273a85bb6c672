"""Where the key comes from, and that no answer leads it elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from segops import config
from segops.core.errors import UserError
from segops.klaviyo.errors import KlaviyoError
from segops.klaviyo.pages import read_page
from segops.klaviyo.service import read_key
from tests.klaviyo.runs import MemoryJournal, pull
from tests.klaviyo.stand_in import StandIn
from tests.klaviyo.virtual_time import run


def test_key_is_read_from_a_variable_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("pk_file\n")
    assert read_key(config.KlaviyoSettings(api_key="pk_variable")) == "pk_variable"
    assert read_key(config.KlaviyoSettings(api_key_file=file)) == "pk_file"


@pytest.mark.parametrize("content", ["", "two words", "pk_1\r\nX-Header: 1", "pk_é"])
def test_file_without_one_key_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    with pytest.raises(UserError, match="SEGOPS_KLAVIYO_API_KEY_FILE: expected one key") as failed:
        read_key(config.KlaviyoSettings(api_key_file=file))
    assert not content or content not in str(failed.value)


def test_two_keys_and_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected one of SEGOPS_KLAVIYO_API_KEY and"):
        config.load(klaviyo={"api_key": "pk_1", "api_key_file": tmp_path})
    with pytest.raises(UserError, match="missing key"):
        read_key(config.KlaviyoSettings())
    with pytest.raises(UserError, match="cannot read"):
        read_key(config.KlaviyoSettings(api_key_file=tmp_path / "none"))


def test_key_is_hidden_in_the_settings() -> None:
    assert "pk_secret" not in repr(config.KlaviyoSettings(api_key="pk_secret"))


def test_redirect_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = StandIn(), []

    async def redirect(self: StandIn, request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        raise web.HTTPFound("/api/elsewhere")

    monkeypatch.setattr(StandIn, "_answer", redirect)

    async def main() -> None:
        async with found.serving() as url:
            await pull(url, MemoryJournal())

    with pytest.raises(KlaviyoError, match="/api/accounts: expected status 200, got 302"):
        run(main())
    assert asked == ["/api/accounts"]


def test_only_the_cursor_of_a_link_is_used() -> None:
    body = b'{"data": [], "links": {"next": "http://169.254.169.254/x?page%5Bcursor%5D=abc"}}'
    assert read_page(body).cursor == "abc"
    with pytest.raises(KlaviyoError, match="expected a page"):
        read_page(b'{"data": [], "links": {"next": "http://169.254.169.254/x"}}')
