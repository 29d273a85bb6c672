"""What every answer forbids browsers: frames, foreign content, sniffing, caches."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from segops.console import rendering
from segops.console.assets import FOLDER, Assets

from .helpers import TOKEN, Browser, serve

POLICY = {
    "default-src 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "object-src 'none'",
}
TEMPLATES = sorted((Path(rendering.__file__).parent / "templates").glob("*.html"))


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/settings", 200),
        ("/settings.json", 200),
        ("/nothing", 404),
        ("/login", 303),
        ("/static/x/js/main.js", 200),
    ],
)
def test_every_answer_has_the_headers(path: str, status: int) -> None:
    async def steps(browser: Browser) -> None:
        answer = await browser.get(path)
        headers = answer.headers
        assert answer.status == status
        assert set(headers["Content-Security-Policy"].split("; ")) == POLICY
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Server"] == "segops"
        assert "Strict-Transport-Security" not in headers
        assert headers["Cache-Control"] == ("no-cache" if "static" in path else "no-store")

    serve(steps)


def test_over_tls_browsers_are_told_to_stay_with_it() -> None:
    async def steps(browser: Browser) -> None:
        answer = await browser.get("/login", Host="c.example")
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"

    serve(steps, token=TOKEN, url="https://c.example")


def test_the_word_of_an_untrusted_proxy_makes_no_tls() -> None:
    async def steps(browser: Browser) -> None:
        answer = await browser.get("/login", X_Forwarded_Proto="https")
        assert "Strict-Transport-Security" not in answer.headers

    serve(steps, token=TOKEN)


def test_a_refused_host_gets_the_headers_too() -> None:
    async def steps(browser: Browser) -> None:
        answer = await browser.get("/settings", Host="evil.example")
        assert answer.status == 421 and "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]

    serve(steps)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_what_the_policy_forbids(template: Path) -> None:
    text = re.sub(r"\{#.*?#\}", "", template.read_text("utf-8"), flags=re.S)
    executed = r"<script(?![^>]*\b(src=|type=\"application/json\"))"
    assert re.search(executed, text) is None, "inline script"
    data = re.findall(r"<script[^>]*application/json[^>]*>(.*?)</script>", text, flags=re.S)
    assert all(re.fullmatch(r"\{\{ .* \| tojson \}\}", each) for each in data), "data must be escaped"
    assert re.search(r"\son[a-z]+\s*=", text) is None, "inline handler"
    assert re.search(r"<[^>{]*\sstyle\s*=|<style", text) is None, "inline style"
    assert re.search(r"(src|href|action)\s*=\s*\"(https?:)?//", text) is None, "something from elsewhere"
    assert "|safe" not in text.replace(" ", "") and "autoescape" not in text


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.*")), ids=lambda path: path.name)
def test_no_static_file_loads_anything_from_elsewhere(path: Path) -> None:
    text = path.read_text("utf-8").replace("http://www.w3.org/", "")
    assert re.search(r"(https?:)?//[a-z0-9-]+\.[a-z]", text) is None
    assert "@import" not in text and "innerHTML" not in text and "eval(" not in text


def test_every_static_file_has_one_address_for_all_of_a_version(tmp_path: Path) -> None:
    (tmp_path / "js").mkdir()
    for name in ("a.js", "js/b.js"):
        (tmp_path / name).write_text("1")
    before = Assets(tmp_path)
    assert before.url("js/b.js") == f"/static/{before.digest}/js/b.js"
    (tmp_path / "a.js").write_text("2")
    assert Assets(tmp_path).url("js/b.js") != before.url("js/b.js")
    with pytest.raises(KeyError):
        before.url("none.js")
