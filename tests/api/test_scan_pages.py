"""The pages that take a scan: what they ask, what they answer, and what they refuse."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from segops.api.access import Access
from segops.api.health import Page
from segops.api.scans import MAX_BODY, Call, ScanPages
from segops.core.errors import SegopsError
from segops.core.scans import Estimate, Flow, Forecast, Overlap, SegmentForecast
from segops.schemas.scans import (
    EstimateRequest,
    ForecastRequest,
    OverlapRequest,
    Question,
    ScanBusy,
    Scanned,
    ScanRefused,
    ScanTimeout,
)
from tests.api.test_server import Host, get, serve

LOCAL = Access(token=None, local=True)
H = 3_600_000
RESULTS: dict[type, Any] = {
    ForecastRequest: Forecast(
        0, 2 * H, 0, 24 * H, {"vip": SegmentForecast(5, {H: Flow(1, 2)}, {0: Flow(1, 2)})}
    ),
    OverlapRequest: Overlap(["a", "b"], {1: 3, 2: 4, 3: 2}),
    EstimateRequest: Estimate(0.5, 10, 4, 0, [], [], 0, []),
}
DRAFT = {"key": "d", "when": {"did": "A"}}


class Scans:
    """Answers questions at once, and records them."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[Question] = []
        self.error = error

    async def __call__(self, question: Question) -> Scanned:
        self.asked.append(question)
        if self.error is not None:
            raise self.error
        return Scanned(7, 9, 10, 1, RESULTS[type(question)])


def call(
    path: str, body: bytes | None = None, *, method: str = "", query: dict[str, str] | None = None
) -> Call:
    async def read() -> bytes | None:
        return body

    return Call(method or ("POST" if path == "/estimate" else "GET"), path, query or {}, None, read)


def answer(pages: ScanPages, asked: Call) -> Page:
    return asyncio.run(pages.page(asked))


def posted(**form: Any) -> Call:
    return call("/estimate", json.dumps(form).encode())


def test_forecast_of_a_segment() -> None:
    scans = Scans()
    page = answer(ScanPages(scans, LOCAL), call("/segments/vip/forecast"))
    found = json.loads(page.body)
    assert (page.status, scans.asked) == (200, [ForecastRequest(("vip",))])
    assert (found["from_ms"], found["to_ms"], found["profiles"], found["unreadable"]) == (7, 9, 10, 1)
    (segment,) = found["segments"]
    assert (segment["segment_key"], segment["members"]) == ("vip", 5)
    assert segment["hours"] == [
        {"from_ms": 0, "entered": 0, "left": 0},
        {"from_ms": H, "entered": 1, "left": 2},
    ]
    assert page.headers["Cache-Control"] == "no-store"


def test_overlap_of_segments() -> None:
    scans = Scans()
    found = json.loads(answer(ScanPages(scans, LOCAL), call("/overlap", query={"segments": "a,b"})).body)
    assert scans.asked == [OverlapRequest(("a", "b"))]
    assert (found["sizes"], found["in_all"], found["in_any"]) == ({"a": 5, "b": 6}, 2, 9)
    assert found["pairs"] == [{"segments": ["a", "b"], "members": 2}]
    assert found["exactly"][0] == {"segments": ["a"], "members": 3}


def test_estimate_of_a_draft() -> None:
    scans = Scans()
    page = answer(ScanPages(scans, LOCAL), posted(segments=[DRAFT], sample=0.5, samples=2, funnel=True))
    (asked,) = scans.asked
    assert isinstance(asked, EstimateRequest)
    assert (asked.segment, asked.share, asked.samples, asked.funnel) == ("d", 0.5, 2, True)
    assert [each.key for each in asked.drafts()] == ["d"]
    found = json.loads(page.body)
    assert (found["holds"], found["evaluated"]) == (4, 10)
    assert found["members"] == {"estimate": 8, "low": 4, "high": 16}
    assert found["profiles"] == {"estimate": 20, "low": 13, "high": 31}


def test_draft_reads_the_places_of_the_body() -> None:
    scans = Scans()
    zone, form = {"zone": {"lat": 0, "lon": 0, "radius": "1km"}}, {"key": "d", "when": {"inside": "zone"}}
    assert answer(ScanPages(scans, LOCAL), posted(segments=[form], places=zone)).status == 200
    (asked,) = scans.asked
    assert isinstance(asked, EstimateRequest)
    assert asked.drafts()[0].areas == zone
    refused = answer(ScanPages(scans, LOCAL), posted(segments=[form], places={"zone": {}}))
    assert refused.status == 400 and b"body: places.zone" in refused.body


def test_draft_reads_the_rfm_block_of_the_body() -> None:
    scans = Scans()
    form = {"key": "d", "when": {"rfm": "champions"}}
    assert answer(ScanPages(scans, LOCAL), posted(segments=[form], rfm={"period": "90d"})).status == 200
    (asked,) = scans.asked
    assert isinstance(asked, EstimateRequest)
    assert asked.drafts()[0].rfm == {"period": "90d"}
    refused = answer(ScanPages(scans, LOCAL), posted(segments=[form], rfm={"period": 9}))
    assert refused.status == 400 and b"body: rfm.period" in refused.body


@pytest.mark.parametrize(
    ("asked", "status", "text"),
    [
        (call("/overlap"), 400, "expected 2 to 10 segments, got 0"),
        (call("/overlap", query={"segments": "a"}), 400, "got 1"),
        (call("/overlap", query={"segments": "a,a"}), 400, "twice"),
        (call("/overlap", method="HEAD"), 405, "expected GET"),
        (call("/overlap", method="POST"), 405, "expected GET"),
        (call("/estimate", method="GET"), 405, "expected POST"),
        (call("/segments/vip/forecast", method="POST"), 405, "expected GET"),
        (call("/estimate", None), 413, f"at most {MAX_BODY:,} bytes"),
        (call("/estimate", b""), 400, "truncated"),
        (call("/estimate", b"\xff"), 400, "malformed"),
        (call("/estimate", b"[" * 100_000), 400, ""),
        (posted(), 400, "segments"),
        (posted(segments=[DRAFT], sampel=1), 400, "sampel"),
        (posted(segments=[DRAFT], sample=0), 400, "expected a share above 0"),
        (posted(segments=[DRAFT], samples=1_000), 400, "expected 0 to 100 samples"),
        (posted(segments=[DRAFT], segment="e"), 400, "expected one of d, got 'e'"),
        (posted(segments=[DRAFT, {**DRAFT, "key": "e"}]), 400, "expected one of d, e, got None"),
        (posted(segments=[{"key": "d", "when": {"did": 5}}]), 400, "body: segments[0].when"),
        (posted(segments=[]), 400, "segment"),
    ],
)
def test_invalid_requests_are_refused_with_the_reason(asked: Call, status: int, text: str) -> None:
    scans = Scans()
    page = answer(ScanPages(scans, LOCAL), asked)
    assert (page.status, scans.asked) == (status, []), page.body
    assert text in page.body.decode()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ScanRefused("partition 0: unknown segments: vip"), 422),
        (ScanBusy("partition 0"), 503),
        (ScanTimeout("0 of 8 partitions"), 504),
        (SegopsError("new definitions"), 500),
        (RuntimeError("a bug"), 500),
    ],
)
def test_failed_scans_have_a_status_each(error: Exception, status: int) -> None:
    page = answer(ScanPages(Scans(error), LOCAL), call("/segments/vip/forecast"))
    assert page.status == status
    assert (b"a bug" in page.body) is False
    assert ("Retry-After" in page.headers) is (status == 503)


def test_scans_require_the_token() -> None:
    scans = Scans()
    assert answer(ScanPages(scans, Access(token="t", local=True)), call("/segments/a/forecast")).status == 401
    assert answer(ScanPages(scans, Access(token=None, local=False)), posted(segments=[DRAFT])).status == 403
    assert scans.asked == []


def test_few_scans_run_at_a_time() -> None:
    release = asyncio.Event()

    async def wait(question: Question) -> Scanned:
        await release.wait()
        return Scanned(0, 0, 0, 0, RESULTS[type(question)])

    async def steps() -> list[int]:
        pages = ScanPages(wait, LOCAL)
        running = [asyncio.create_task(pages.page(call("/segments/a/forecast"))) for _ in range(2)]
        await asyncio.sleep(0)
        refused = await pages.page(call("/segments/a/forecast"))
        release.set()
        done = [page.status for page in await asyncio.gather(*running)]
        return [refused.status, *done, (await pages.page(call("/segments/a/forecast"))).status]

    assert asyncio.run(steps()) == [503, 200, 200, 200]


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/overlap", True),
        ("/estimate", True),
        ("/segments/vip-2/forecast", True),
        ("/segments//forecast", False),
        ("/segments/a/b/forecast", False),
        ("/segments/vip/trend", False),
        ("/segments/vip", False),
        ("/overlap/", False),
        ("/segments/%61/forecast", False),
        ("/segments/a/forecast\n", False),
    ],
)
def test_only_these_paths_are_scans(path: str, known: bool) -> None:
    assert ScanPages(Scans(), LOCAL).has(path) is known


# -- over a socket -----------------------------------------------------------------------------------------

BODY = json.dumps({"segments": [DRAFT]})
CHUNKED = f"{len(BODY):x}\r\n{BODY}\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/overlap?segments=a%2Cb"), 200),
        (get("/overlap?segments=a,b"), 200),
        (get("/overlap"), 400),
        (get("/segments/vip/forecast"), 200),
        (get("/segments/vip/forecast", method="PUT"), 405),
        (get("/estimate", f"Content-Length: {len(BODY)}", method="POST") + BODY, 200),
        (get("/estimate", "Transfer-Encoding: chunked", method="POST") + CHUNKED, 200),
        (get("/estimate", "Content-Length: 0", method="POST"), 400),
        (get("/estimate", "Content-Length: 5", method="POST") + "[1, 2]", 400),
        (get("/estimate", f"Content-Length: {MAX_BODY + 1}", method="POST") + "x" * (MAX_BODY + 1), 413),
        (get("/estimate", "Content-Length: 999999999", method="POST") + "x" * (MAX_BODY + 9), 413),
    ],
)
def test_status_over_a_socket(request_: str, status: int) -> None:
    async def steps(host: Host) -> None:
        assert await host.status(request_) == status

    serve(steps, scans=ScanPages(Scans(), LOCAL))


def test_body_that_does_not_arrive_ends_the_request() -> None:
    async def steps(host: Host) -> None:
        assert await host.status(get("/estimate", "Content-Length: 5", method="POST") + "[1") == 408

    serve(steps, timeout_s=0.3, scans=ScanPages(Scans(), LOCAL))
