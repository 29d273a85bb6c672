"""What the collector does not accept: wrong and malicious input, and what it says about it."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import zlib
from collections.abc import Callable

import pytest

from segops.collector.body import MAX_BODY_BYTES, MAX_EVENTS
from tests.collector.helpers import EVENT, KEY, Answer, Collector, basic, batch, serve

DEEP = b'{"type":"track","event":"A","userId":"u","properties":' + b'{"a":' * 300 + b"1" + b"}" * 301
ENDLESS = b"[" * 400_000


#: Name -> how to make the body, its Content-Encoding, and the code of the answer.
UNREADABLE: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "nothing": (lambda: b"", "", "empty"),
    "blank": (lambda: b"  ", "", "empty"),
    "too large": (lambda: b"x" * (MAX_BODY_BYTES + 1), "", "too_large"),
    "too large once decompressed": (lambda: gzip.compress(b"x" * (MAX_BODY_BYTES + 1)), "", "too_large"),
    "300 MB in 300 KB": (lambda: gzip.compress(b"x" * (300 << 20), 9), "gzip", "too_large"),
    "cut gzip": (lambda: gzip.compress(b"{}")[:-9], "gzip", "bad_encoding"),
    "data after the gzip": (lambda: gzip.compress(b"{}") + b"x", "", "bad_encoding"),
    "no gzip": (lambda: b"\x1f\x8bno gzip", "", "bad_encoding"),
    "deflate": (lambda: zlib.compress(b"{}"), "deflate", "bad_encoding"),
    "brotli": (lambda: b"{}", "br", "bad_encoding"),
    "too many": (lambda: json.dumps(batch(*[{}] * (MAX_EVENTS + 1))).encode(), "", "too_many_events"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_bodies_get_400_and_nothing_is_sent(name: str) -> None:
    make, encoding, code = UNREADABLE[name]

    async def steps(collector: Collector) -> None:
        headers = {"Content-Encoding": encoding} if encoding else {}
        answer = await collector.post("/v1/batch", make(), headers=headers)
        assert (answer.status, answer.json["code"]) == (400, code)
        assert answer.json["message"]
        assert collector.producer.sent == []

    serve(steps)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"no json", "invalid_json", "body: "),
        (b'{"type":"track"', "invalid_json", "body: "),
        (b"[]", "wrong_type", "body: an event is a JSON object"),
        (b"\xff", "bad_utf8", "body: "),
        (ENDLESS, "too_large", "body: 400,000 bytes, 32,768 are allowed"),
        (ENDLESS[:20_000], "too_deep", "body: "),
        (DEEP, "too_deep", "body: nested deeper than 256"),
        (b'{"type":"buy","userId":"u"}', "unknown_type", "body.type: type is 'buy'"),
        (b'{"type":"track","userId":"u"}', "no_name", "body.event: a track call names no event"),
        (b'{"type":"page"}', "no_identifier", "body.userId: neither"),
        (b'{"type":"page","userId":"null"}', "blocked_identifier", "body.userId: every"),
        (b'{"type":"page","userId":"u","timestamp":"1/3"}', "bad_time", "body.timestamp: expected"),
        (json.dumps({**EVENT, "x": "x" * 32_768}).encode(), "too_large", "body: 32,8"),
        (b'{"batch":[5]}', "wrong_type", "batch[0]: an event is a JSON object"),
        (b'{"batch":5}', "wrong_type", "body: Object missing required field `type`"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_invalid_events_are_named_and_go_to_the_dead_letters(body: bytes, code: str, message: str) -> None:
    async def steps(collector: Collector) -> None:
        answer = await collector.post("/v1/batch", body)
        assert (answer.status, answer.json["code"]) == (400, code)
        assert answer.json["message"].startswith(message)
        assert collector.events == []
        (letter,) = collector.letters
        assert letter.value == (b"5" if body == b'{"batch":[5]}' else body)
        assert letter.headers["segops-reason"].decode() == code
        path = answer.json["rejected"][0]["path"]
        assert letter.headers["segops-origin"] == f"collector:website:{path}".encode()
        assert collector.count("segops_dead_letters_total", reason=code) == 1

    serve(steps)


def test_largest_event_of_an_sdk_is_accepted() -> None:
    async def steps(collector: Collector) -> None:
        event = json.dumps({**EVENT, "x": ""}).encode()
        largest = event.replace(b'"x": ""', b'"x": "%s"' % (b"x" * (32_768 - len(event))))
        assert len(largest) == 32_768
        assert (await collector.post(content=largest, headers={"User-Agent": "x" * 5_000})).status == 200
        assert len(collector.records()[0].value) < collector.settings.engine.max_event_bytes

    serve(steps)


def test_valid_events_of_a_batch_are_accepted_and_the_others_are_named() -> None:
    async def steps(collector: Collector) -> None:
        events = [{**EVENT, "messageId": f"m{n}"} for n in range(60)]
        for n in range(5, 55):
            events[n]["type"] = "buy"
        answer = await collector.post("/v1/batch", batch(*events, writeKey=KEY))
        assert (answer.status, answer.json["success"]) == (200, True)
        assert answer.json["rejected_total"] == 50
        assert len(answer.json["rejected"]) == 20
        assert answer.json["rejected"][0] == {
            "path": "batch[5].type",
            "code": "unknown_type",
            "message": "type is 'buy'",
        }
        assert [event["messageId"] for event in collector.events] == [
            f"m{n}" for n in (0, 1, 2, 3, 4, 55, 56, 57, 58, 59)
        ]
        assert len(collector.letters) == 50
        name = "segops_collector_events_total"
        assert collector.count(name, source="website", result="rejected") == 50

    serve(steps)


def test_shared_context_cannot_multiply_a_batch() -> None:
    async def steps(collector: Collector) -> None:
        content = batch(*[EVENT] * 1_500, context={"x": "x" * 30_000})
        answer = await collector.post("/v1/batch", content)
        assert (answer.status, answer.json["code"]) == (400, "too_large")
        assert collector.producer.sent == []

    serve(steps)


def test_write_keys_reach_neither_topics_nor_answers_nor_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def steps(collector: Collector) -> None:
        bad = {**EVENT, "type": "buy", "writeKey": KEY, "properties": {"a": f"x{KEY}x"}}
        answers = [
            await collector.post(content=bad),
            await collector.post("/v1/batch", batch(bad, writeKey=KEY)),
            await collector.post(content=f'{{"writeKey":"{KEY}",'.encode()),
            await collector.post(content={**EVENT, "writeKey": KEY}),
            await collector.post(content={**EVENT, "writeKey": "unknown-key"}, key=None),
        ]
        collector.producer.error = RuntimeError("failed")
        answers.append(await collector.post(content={**EVENT, "writeKey": KEY}))
        sent = repr([(r.value, r.headers) for r in collector.producer.sent])
        assert len(collector.letters) == 3
        for text in (sent, repr(answers), caplog.text):
            assert KEY not in text and "unknown-key" not in text

    with caplog.at_level(logging.DEBUG):
        serve(steps)


def test_methods_and_paths_that_are_not_served() -> None:
    async def steps(collector: Collector) -> None:
        for method, path, status in [
            ("GET", "/v1/track", 405),
            ("PUT", "/v1/batch", 405),
            ("POST", f"/projects/{KEY}/settings", 405),
            ("POST", "/", 404),
            ("POST", "/v1/m", 404),
            ("GET", "/metrics", 404),
            ("POST", "/v1//track", 404),
        ]:
            answer = await collector.post(path, method=method)
            assert answer.status == status, (method, path)
            assert answer.json["code"]

    serve(steps)


# -- browsers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/t", "/v1/batch", "/sourceConfig/", "/v1/anything"])
def test_preflight_allows_the_headers_that_are_asked_for(path: str) -> None:
    async def steps(collector: Collector) -> None:
        asked = "authorization,content-type,x-retry-count,anonymousid,rsa-retry-attempt"
        headers = {
            "Origin": "https://shop.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": asked,
        }
        answer = await collector.post(path, method="OPTIONS", key=None, headers=headers)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        assert answer.headers["Access-Control-Allow-Headers"] == asked
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]

    serve(steps)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://shop.example/path"},
        {"Origin": "https://a, https://b"},
        {"Origin": "javascript:alert(1)"},
        {"Origin": "https://" + "x" * 300},
        {},
    ],
)
def test_odd_origins_are_not_echoed(headers: dict[str, str]) -> None:
    async def steps(collector: Collector) -> None:
        answer = await collector.post(method="OPTIONS", key=None, headers=headers)
        assert not [name for name in answer.headers if name.startswith("Access-Control")]

    serve(steps)


def test_header_names_that_are_none_are_not_echoed() -> None:
    async def steps(collector: Collector) -> None:
        headers = {"Origin": "https://shop.example", "Access-Control-Request-Headers": "x: y\tz"}
        answer = await collector.post(method="OPTIONS", headers=headers)
        assert "Access-Control-Allow-Headers" not in answer.headers

    serve(steps)


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /v1/track HTTP/1.1\r\nHost: h\r\nOrigin: https://a\nX-Injected: 1\r\n\r\n",
        b"POST /v1/track HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v1/track HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/track HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/track HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 10_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_malformed_http_is_refused_without_an_injected_header(request_: bytes) -> None:
    async def steps(collector: Collector) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", collector.port)
        writer.write(request_)
        answer = await reader.read()
        writer.close()
        assert answer.split(b" ")[1] in (b"400", b"431")
        assert b"X-Injected" not in answer
        assert (await collector.post()).status == 200

    serve(steps)


def test_answers_to_browsers_show_when_to_retry() -> None:
    async def steps(collector: Collector) -> None:
        collector.disconnect()
        answer = await collector.post(headers={"Origin": "https://shop.example"})
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
        assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After"
        assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"

    serve(steps)


async def _from(collector: Collector, origin: str | None) -> Answer:
    headers = {"Authorization": basic(KEY), **({} if origin is None else {"Origin": origin})}
    return await collector.post(headers=headers)


def test_source_may_be_restricted_to_origins(tmp_path: object) -> None:
    file = f"{tmp_path}/sources.yaml"
    with open(file, "w") as sources:
        sources.write("version: 1\nsources: [{name: website, origins: ['https://shop.example']}]\n")

    async def steps(collector: Collector) -> None:
        origins = ("https://shop.example", "https://SHOP.example", None, "https://evil.example", "null")
        statuses = [(await _from(collector, origin)).status for origin in origins]
        assert statuses == [200, 200, 200, 403, 403]

    serve(steps, sources_file=file)
