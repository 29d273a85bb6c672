"""Requests in every form that the SDKs send: paths, credentials, encodings, times, and what is added."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from segops.collector.server import EVENT_PATHS
from tests.collector.helpers import EVENT, KEY, NOW, OTHER_KEY, Collector, basic, batch, serve

NO_KEY = {"Authorization": ""}
KINDS = ("track", "identify", "page", "screen", "group", "alias")


def test_every_path_of_both_apis_is_served() -> None:
    names = [*KINDS, *(kind[0] for kind in KINDS), "batch", "import", "b"]
    assert set(EVENT_PATHS) == {f"/v1/{name}" for name in names}


@pytest.mark.parametrize("kind", KINDS)
def test_path_names_the_type_of_an_event_that_names_none(kind: str) -> None:
    async def steps(collector: Collector) -> None:
        fields = {"userId": "ann", "event": "Viewed", "groupId": "g", "previousId": "x"}
        for path in (f"/v1/{kind}", f"/v1/{kind[0]}"):
            assert (await collector.post(path, fields)).status == 200
        assert (await collector.post(f"/v1/{kind}", {**EVENT, "type": "track"})).status == 200
        assert [event["type"] for event in collector.events] == [kind, kind, "track"]

    serve(steps)


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({"Authorization": basic(KEY)}, {}),
        ({"Authorization": basic(f"{KEY}:")}, {}),
        ({"Authorization": basic(f"{KEY}:").rstrip("=")}, {}),
        ({"Authorization": basic(f"{KEY}:").replace("Basic", "basic")}, {}),
        ({}, {"writeKey": KEY}),
    ],
    ids=["key alone", "key and colon", "no padding", "lower case", "in the body"],
)
@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch"])
def test_write_key_is_read_where_sdks_put_it(
    headers: dict[str, str], fields: dict[str, str], path: str
) -> None:
    async def steps(collector: Collector) -> None:
        content = {**EVENT, **fields} if path == "/v1/track" else batch(EVENT, **fields)
        answer = await collector.post(path, content, key=None, headers=headers)
        assert (answer.status, answer.json) == (200, {"success": True})
        (record,) = collector.records()
        assert record.headers == {"segops-collector-source": b"website"}
        assert "writeKey" not in record.event

    serve(steps)


@pytest.mark.parametrize(
    ("headers", "fields", "code"),
    [
        ({}, {}, "no_write_key"),
        ({}, {"writeKey": "unknown-key"}, "unknown_write_key"),
        ({}, {"writeKey": 5}, "no_write_key"),
        ({"Authorization": basic("unknown-key:")}, {}, "unknown_write_key"),
        ({"Authorization": basic("")}, {}, "no_write_key"),
        ({"Authorization": "Basic %%%"}, {}, "no_write_key"),
        ({"Authorization": "Basic /////w=="}, {}, "no_write_key"),
        ({"Authorization": f"Bearer {KEY}"}, {}, "no_write_key"),
        ({"Authorization": "Basic " + "QUFB" * 1_000}, {}, "no_write_key"),
    ],
)
def test_wrong_write_keys_get_401_and_nothing_is_sent(
    headers: dict[str, str], fields: dict[str, Any], code: str
) -> None:
    async def steps(collector: Collector) -> None:
        answer = await collector.post(content={**EVENT, **fields}, key=None, headers=headers)
        assert (answer.status, answer.json["code"]) == (401, code)
        assert "WWW-Authenticate" not in answer.headers  # a browser would ask its user for a password
        assert collector.producer.sent == []
        name = "segops_collector_requests_total"
        assert collector.count(name, source="unknown", code="401") == 1

    serve(steps)


JSON = json.dumps(EVENT).encode()
ZIPPED = gzip.compress(JSON, mtime=0)


@pytest.mark.parametrize(
    ("content_type", "encoding", "body"),
    [
        ("application/json", "", JSON),
        ("application/json; charset=utf-8", "", b"\xef\xbb\xbf" + JSON),
        ("text/plain", "", JSON),
        ("text/plain;charset=UTF-8", "", b" \n" + JSON + b"\n"),
        ("application/x-www-form-urlencoded", "", JSON),
        ("application/json", "gzip", ZIPPED),
        ("application/x-www-form-urlencoded", "gzip", ZIPPED),
        ("application/x-www-form-urlencoded", "", ZIPPED),
        ("application/json", "identity", JSON),
        ("application/json", "GZIP", ZIPPED),
        ("application/json", "gzip", JSON),
    ],
)
def test_body_is_json_in_any_content_type_and_may_be_compressed(
    content_type: str, encoding: str, body: bytes
) -> None:
    async def steps(collector: Collector) -> None:
        headers = {"Content-Type": content_type, **({"Content-Encoding": encoding} if encoding else {})}
        assert (await collector.post(content=body, headers=headers)).status == 200
        assert collector.events[0]["messageId"] == "m1"

    serve(steps)


LATE = "2026-03-01T11:59:00Z"  # sent a minute before it was received: the sender's clock is behind
SOON = "2026-03-01T11:59:59.500Z"


@pytest.mark.parametrize(
    ("fields", "times"),
    [
        ({"timestamp": "2026-03-01T10:00:00Z"}, ("2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z")),
        (
            {"timestamp": "2026-03-01T10:00:00Z", "sentAt": LATE},
            ("2026-03-01T10:01:00.000Z", "2026-03-01T10:00:00Z"),
        ),
        (
            {"timestamp": "2026-03-01T10:00:00Z", "sentAt": SOON},
            ("2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z"),
        ),
        (
            {"originalTimestamp": "2026-03-01T10:00:00Z", "sentAt": LATE},
            ("2026-03-01T10:01:00.000Z", "2026-03-01T10:00:00Z"),
        ),
        (
            {"timestamp": "2026-03-01T12:00:00+02:00", "originalTimestamp": "2020-01-01", "sentAt": LATE},
            ("2026-03-01T10:01:00.000Z", "2026-03-01T12:00:00+02:00"),
        ),
        ({}, (NOW, None)),
        ({"timestamp": None, "sentAt": LATE}, (NOW, None)),
        ({"timestamp": "", "originalTimestamp": "soon"}, (NOW, "soon")),
        ({"timestamp": "01/03/2026", "originalTimestamp": "2026-03-01"}, ("01/03/2026", "2026-03-01")),
        ({"timestamp": "2026-03-01", "sentAt": "yesterday"}, ("2026-03-01", "2026-03-01")),
        ({"timestamp": "9999-12-31T23:59:59Z", "sentAt": LATE}, ("9999-12-31T23:59:59Z",) * 2),
    ],
)
@pytest.mark.parametrize("in_batch", [False, True])
def test_timestamp_is_corrected_and_the_written_one_is_the_original(
    fields: dict[str, Any], times: tuple[str, str | None], in_batch: bool
) -> None:
    async def steps(collector: Collector) -> None:
        event = {**EVENT, **fields}
        if in_batch:
            sent_at = event.pop("sentAt", None)
            await collector.post("/v1/batch", batch(event, sentAt=sent_at))
        else:
            await collector.post(content=event)
        (found,) = collector.events
        assert (found["timestamp"], found.get("originalTimestamp")) == times
        assert found["receivedAt"] == NOW
        assert found.get("sentAt") == fields.get("sentAt")

    serve(steps)


def test_sender_cannot_choose_when_its_event_was_received() -> None:
    async def steps(collector: Collector) -> None:
        await collector.post(content={**EVENT, "receivedAt": "2030-01-01"})
        await collector.post("/v1/batch", batch(EVENT, receivedAt="2030-01-01"))
        assert [event["receivedAt"] for event in collector.events] == [NOW, NOW]

    serve(steps)


def test_header_with_the_time_of_this_attempt_takes_precedence() -> None:
    async def steps(collector: Collector) -> None:
        event = {**EVENT, "timestamp": "2026-03-01T10:00:00Z", "sentAt": LATE}
        await collector.post(content=event, headers={"SentAt": NOW})  # RudderStack's, when it retries
        (found,) = collector.events
        assert (found["sentAt"], found["timestamp"]) == (NOW, "2026-03-01T10:00:00Z")

    serve(steps)


@pytest.mark.parametrize(
    ("written", "context"),
    [
        ({}, {"ip": "127.0.0.1", "userAgent": "browser"}),
        ({"context": None}, {"ip": "127.0.0.1", "userAgent": "browser"}),
        ({"context": {}}, {"ip": "127.0.0.1", "userAgent": "browser"}),
        ({"context": {"ip": "203.0.113.7", "a": 1}}, {"ip": "203.0.113.7", "userAgent": "browser", "a": 1}),
        ({"context": {"userAgent": "own"}}, {"ip": "127.0.0.1", "userAgent": "own"}),
        ({"context": "odd"}, "odd"),
    ],
)
def test_context_gets_address_and_user_agent(written: dict[str, Any], context: object) -> None:
    async def steps(collector: Collector) -> None:
        await collector.post(content={**EVENT, **written}, headers={"User-Agent": "browser"})
        assert collector.events[0]["context"] == context

    serve(steps)


def test_addresses_can_be_dropped() -> None:
    async def steps(collector: Collector) -> None:
        own = {"context": {"ip": "203.0.113.7", "page": 1}}
        await collector.post(content={**EVENT, **own}, headers={"User-Agent": "browser"})
        await collector.post(headers={"User-Agent": "browser"})
        contexts = [event["context"] for event in collector.events]
        assert contexts == [{"userAgent": "browser", "page": 1}, {"userAgent": "browser"}]

    serve(steps, ip="drop")


def test_address_is_the_one_that_the_proxies_saw() -> None:
    async def steps(collector: Collector) -> None:
        await collector.post(headers={"X-Forwarded-For": "6.6.6.6, 203.0.113.7"})
        await collector.post()  # past the proxy: of no address that can be trusted
        assert [event["context"].get("ip") for event in collector.events] == ["203.0.113.7", None]

    serve(steps, proxies=1)


def test_context_of_a_batch_applies_to_its_events() -> None:
    async def steps(collector: Collector) -> None:
        own = {**EVENT, "context": {"a": 1, "b": 1}}
        await collector.post("/v1/batch", batch(EVENT, own, context={"b": 2, "c": 2}))
        found = [{key: event["context"].get(key) for key in "abc"} for event in collector.events]
        assert found == [{"a": None, "b": 2, "c": 2}, {"a": 1, "b": 1, "c": 2}]

    serve(steps)


def test_events_of_one_sender_share_key_and_partition_in_order() -> None:
    async def steps(collector: Collector) -> None:
        senders = [{"userId": "ann"}, {"anonymousId": "a-1"}, {"userId": "bob"}]
        events = [{**EVENT, "messageId": f"m{n}", **senders[n % 3]} for n in range(30)]
        for event in events:
            if "anonymousId" in event:
                del event["userId"]
        assert (await collector.post("/v1/batch", batch(*events))).status == 200
        found: dict[bytes | None, set[int]] = {}
        for record in collector.records():
            found.setdefault(record.key, set()).add(record.partition)
        assert set(found) == {b"ann", b"a-1", b"bob"}
        assert all(len(partitions) == 1 for partitions in found.values())
        for key in (b"ann", b"bob"):
            sent = [r.event["messageId"] for r in collector.records() if r.key == key]
            assert sent == sorted(sent, key=lambda text: int(text[1:]))

    serve(steps)


def test_sources_are_told_apart_by_their_keys() -> None:
    async def steps(collector: Collector) -> None:
        await collector.post(key=OTHER_KEY)
        await collector.post(key=KEY)
        names = [record.headers["segops-collector-source"] for record in collector.records()]
        assert names == [b"backend", b"website"]
        name = "segops_collector_events_total"
        assert collector.count(name, source="backend", result="accepted") == 1

    serve(steps)


def test_browser_sdks_find_their_settings() -> None:
    async def steps(collector: Collector) -> None:
        for path in (f"/v1/projects/{KEY}/settings", f"/projects/{KEY}/settings"):
            answer = await collector.get(path, Origin="https://shop.example")
            sender = answer.json["integrations"]["Segment.io"]
            host = f"127.0.0.1:{collector.port}"
            assert sender == {"apiKey": KEY, "apiHost": f"{host}/v1", "protocol": "http"}
            assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        asked = [
            await collector.get(f"/sourceConfig/?writeKey={KEY}&v=3"),
            await collector.get("/sourceConfig/", Authorization=basic(f"{KEY}:")),
        ]
        for answer in asked:
            assert answer.json["source"]["enabled"] is True
            assert answer.json["source"]["destinations"] == []
        assert (await collector.get("/v1/projects/unknown/settings")).status == 404
        assert (await collector.get("/sourceConfig/")).status == 401

    serve(steps)


def test_settings_name_the_public_url() -> None:
    async def steps(collector: Collector) -> None:
        answer = await collector.get(f"/v1/projects/{KEY}/settings", Host="evil.example/x")
        sender = answer.json["integrations"]["Segment.io"]
        assert (sender["apiHost"], sender["protocol"]) == ("collect.shop.example/v1", "https")

    serve(steps, url="https://collect.shop.example/")
