"""Segment's and RudderStack's SDKs for browsers, unchanged, deliver from a page in a real browser.

The page is of another origin than the collector, so every request has a preflight.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from aiohttp.web import Application, AppRunner, Request, Response, TCPSite

from tests.rest import rest

from .helpers import KEY, Collector, serve
from .npm import installed

PACKAGES = ("@segment/analytics-next@1.84.3", "@rudderstack/analytics-js@3.34.1")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SEGMENT = """
<script src="/@segment/analytics-next/dist/umd/index.js"></script>
<script>
  const analytics = AnalyticsNext.AnalyticsBrowser.load({writeKey: "%(key)s", cdnURL: "%(url)s"});
  %(calls)s
</script>
"""
RUDDER = """
<script src="/@rudderstack/analytics-js/dist/npm/modern/bundled/umd/index.js"></script>
<script>
  const analytics = new rudderanalytics.RudderAnalytics();
  analytics.load("%(key)s", "%(url)s", {configUrl: "%(url)s"});
  %(calls)s
</script>
"""
CALLS = """
  analytics.identify("ann", {email: "ann@shop.example"});
  analytics.track("Product Viewed", {sku: "shoe-1"});
  analytics.page("shop", "home");
"""


@rest
@pytest.mark.skipif(BROWSER is None and not os.environ.get("CI"), reason="no Chromium is installed")
@pytest.mark.parametrize("page", [SEGMENT, RUDDER], ids=["segment", "rudder"])
def test_browser_sdk_delivers_every_call(page: str, tmp_path: Path) -> None:
    modules = installed(*PACKAGES)

    async def steps(collector: Collector) -> None:
        url = f"http://127.0.0.1:{collector.port}"
        text = page % {"key": KEY, "url": url, "calls": CALLS}
        shop = Application()

        async def answer(_: Request) -> Response:
            return Response(text=text, content_type="text/html")

        shop.router.add_get("/", answer)
        shop.router.add_static("/", modules)
        runner = AppRunner(shop)
        await runner.setup()
        await TCPSite(runner, "127.0.0.1", 0).start()
        browser = await asyncio.create_subprocess_exec(
            str(BROWSER),
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            f"--user-data-dir={tmp_path}",
            f"http://127.0.0.1:{runner.addresses[0][1]}/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while not {event["type"] for event in collector.events} >= {"identify", "track", "page"}:
                await asyncio.sleep(0.05)
        finally:
            browser.kill()
            await browser.wait()
            await runner.cleanup()
        assert collector.letters == []
        (track,) = [event for event in collector.events if event["type"] == "track"]
        assert (track["event"], track["properties"]["sku"]) == ("Product Viewed", "shoe-1")
        assert track["userId"] == "ann" and track["messageId"]
        assert "Mozilla" in track["context"]["userAgent"]
        assert track["context"]["ip"] == "127.0.0.1"

    serve(steps, timeout_s=90)
