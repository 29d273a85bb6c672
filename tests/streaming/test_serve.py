"""The read API of a running system: what workers publish is answered, through merges, kills and erasures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from segops.brokers.network import reserve_ports
from segops.schemas.state import decode_profile
from tests.faults.proxy import FaultyNetwork
from tests.rest import rest
from tests.serve.helpers import KEY, ORIGIN, SECRET, SITES

from .helpers import Stack, wait_until
from .test_identity import SEGMENTS as PEOPLE
from .test_identity import Story

pytestmark = pytest.mark.broker

_MAIN = ["-P", "-c", "from segops.cli import main; main()"]
#: Two of the segments are exposed.
DEFINED = PEOPLE.replace("  - key: viewers\n", "  - key: viewers\n    expose: true\n").replace(
    "  - key: spenders\n", "  - key: spenders\n    expose: true\n"
) + "\nindicators:\n  orders: {did: Order Completed, within: 30d}\n"  # fmt: skip


class ReadApi:
    """Processes of ``segops serve``, one after the other, on one port."""

    def __init__(self, stack: Stack, **variables: str) -> None:
        self.stack = stack
        self.variables = variables
        self.reserved = reserve_ports(2)
        self.port, self.web_port = self.reserved.numbers
        self.log = stack.folder / "serve.log"
        (stack.folder / "sites.yaml").write_text(SITES.partition("  - {name: app")[0])
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("SEGOPS_")},
            "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": self.stack.bootstrap_servers,
            "SEGOPS_TOPIC_PREFIX": self.stack.name,
            "SEGOPS_PARTITIONS": str(self.stack.partitions),
            "SEGOPS_APP_ID": self.stack.settings.worker.app_id,
            "SEGOPS_DATA_DIR": str(self.stack.folder / "serve"),
            "SEGOPS_SERVE_PORT": str(self.port),
            "SEGOPS_SERVE_WEB_PORT": str(self.web_port),
            "SEGOPS_SERVE_KEYS": f"website={KEY}",
            "SEGOPS_SERVE_SITES": str(self.stack.folder / "sites.yaml"),
            "SEGOPS_SERVE_SECRET_KEYS": f"backend={SECRET}",
            **self.variables,
        }
        main = ["-m", "tests.faults.hooks"] if "FAULTS_REDIRECT" in self.variables else _MAIN
        with self.log.open("ab") as log:
            command = [sys.executable, *main, "serve"]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.stack.workers.append(process)
        return process

    def await_ready(self) -> None:
        wait_until(lambda: self.page("/readyz")[0] == 200, "the read API is ready", self.log.read_text)

    def page(self, path: str) -> tuple[int, str]:
        """Return the status and text of a health or metrics page; status 0 without an answer."""
        return _answer(f"http://127.0.0.1:{self.web_port}{path}", {})

    def get(self, path: str, key: str = SECRET, **headers: str) -> Any:
        """Return an answer without its time; the status unless it is 200."""
        sent = {"Authorization": f"Bearer {key}", **headers}
        status, text = _answer(f"http://127.0.0.1:{self.port}{path}", sent)
        if status != 200:
            return status
        found = json.loads(text)
        assert found.pop("as_of") > 0
        return found

    def answer_about(self, identifier: str, key: str = SECRET, **headers: str) -> Any:
        return self.get(f"/v1/memberships/{quote(identifier, safe='')}", key, **headers)

    def members(self, segment: str) -> list[str] | int:
        """Return all members of a segment, page by page."""
        found, after = [], ""
        while after is not None:
            page = self.get(f"/v1/segments/{segment}/members?limit=2&after={quote(after, safe='')}")
            if isinstance(page, int):
                return page
            found += [each["profile"] for each in page["members"]]
            after = page["next"]
        return found


def _answer(url: str, headers: dict[str, str]) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


@pytest.fixture
def story(stack: Stack) -> Story:
    """Provide a running worker, a visitor who became a customer, and another customer."""
    stack.publish(DEFINED)
    assert stack.segops("apply", str(stack.folder / "segments.yaml")).exit_code == 0  # and the indicator
    story = Story(stack)
    stack.start()
    for _ in range(3):
        story.event("Product Viewed", "a1", properties={"total": 1})
    story.event("Order Completed", "u1 a1 m1", properties={"total": 400})
    story.event("Order Completed", "u2", properties={"total": 5})
    story.publish()
    return story


@pytest.fixture
def api(stack: Stack, story: Story) -> Any:
    api = ReadApi(stack)
    api.await_ready()
    yield api
    api.reserved.release()


def expected(stack: Stack) -> dict[str, set[str]]:
    """Return the members of each segment by the state topic."""
    latest = {each.key: each.value for each in stack.read(stack.settings.topics.membership_state)}
    found: dict[str, set[str]] = {}
    for value in filter(None, latest.values()):
        row = json.loads(value)
        if row["member"]:
            found.setdefault(row["segment_key"], set()).add(row["profile_id"])
    return found


def agrees(api: ReadApi) -> bool:
    """Return whether the pages of members, and the answers about everyone, are what the topics have."""
    of_topics = expected(api.stack)
    keys = [each.key for each in api.stack.definitions]
    if {key: api.members(key) for key in keys} != {key: sorted(of_topics.get(key, ())) for key in keys}:
        return False
    shown = {"viewers", "spenders"} & {*keys}
    for identifier, profile_id in survivors(api.stack).items():
        found = api.answer_about(identifier)
        segments = {key for key in shown if profile_id in of_topics.get(key, ())}
        if found == 404 or (found["profile"], set(found["segments"])) != (profile_id, segments):
            return False
    return True


def survivors(stack: Stack) -> dict[str, str]:
    """Return the profile that each identifier leads to, by the changelog."""
    latest = {each.key.decode(): each.value for each in stack.read(stack.settings.worker.changelog)}
    profiles = {
        key: decode_profile(value) for key, value in latest.items() if value and not key.startswith("\0")
    }
    found = {}
    for key, profile in profiles.items():
        while profile.merged_into is not None:
            profile = profiles[profile.merged_into]
        found[key] = profile.id
    return found


def await_that(api: ReadApi, holds: Callable[[], object], what: str) -> None:
    wait_until(holds, what, lambda: api.log.read_text() + api.stack.diagnosis())


def test_published_memberships_are_answered_through_merges_kills_and_erasures(
    api: ReadApi, story: Story
) -> None:
    known = {"user_id:u1", "anonymous_id:a1"}
    await_that(api, lambda: known <= survivors(api.stack).keys() and agrees(api), "all is answered")
    assert {api.answer_about(each)["profile"] for each in known} == {"user_id:u1"}
    found = api.answer_about("anonymous_id:a1", KEY, Origin=ORIGIN)
    assert set(found) == {"segments", "indicators"}
    assert set(found["segments"]) == {"viewers", "spenders"} and found["indicators"] == {"orders": 1}
    for name in ("Product Viewed", "Product Viewed", "Order Completed"):
        story.event(name, "u2 a2", properties={"total": 300})
    story.publish()
    await_that(api, lambda: agrees(api), "what is published later is answered, too")
    api.process.send_signal(signal.SIGKILL)
    api.process.wait()
    api.process = api.start()
    api.await_ready()
    assert agrees(api)
    assert api.stack.segops("erase", "--profile", "anonymous_id:a1").exit_code == 0
    erased = ["user_id:u1", "anonymous_id:a1", "email:m1@shop.example"]
    await_that(
        api, lambda: [api.answer_about(each) for each in erased] == [404] * 3, "nothing is left of them"
    )
    assert api.answer_about("user_id:u1", KEY) == {"segments": {}, "indicators": {}}
    await_that(api, lambda: agrees(api), "the others are left")
    assert SECRET not in api.log.read_text() and KEY not in api.log.read_text()


@rest
def test_definitions_decide_what_is_shown_at_once(api: ReadApi, story: Story) -> None:
    await_that(api, lambda: agrees(api), "all that is published is answered")
    assert "quiet" not in api.answer_about("user_id:u1")["segments"]
    before = expected(api.stack)
    api.stack.publish(DEFINED.replace("key: viewers\n    expose: true", "key: viewers"))
    await_that(api, lambda: set(api.answer_about("user_id:u1")["segments"]) == {"spenders"}, "it is hidden")
    assert expected(api.stack) == before
    file = api.stack.folder / "segments.yaml"
    file.write_text(DEFINED)
    assert api.stack.segops("apply", str(file)).exit_code == 0
    await_that(api, lambda: "viewers" in api.answer_about("user_id:u1")["segments"], "it is shown again")
    assert api.stack.segops("retire", "spenders").exit_code == 0
    await_that(
        api, lambda: set(api.answer_about("user_id:u1")["segments"]) == {"viewers"}, "a retired one vanishes"
    )
    assert api.members("spenders") == 404


@rest
def test_replicas_of_a_transactional_worker_agree(stack: Stack) -> None:
    stack.guarantee = "exactly_once"
    stack.publish(DEFINED)
    story = Story(stack)
    stack.start()
    apis = [ReadApi(stack), ReadApi(stack)]
    for number in range(30):
        story.event("Product Viewed", f"u{number % 7} a{number % 5}", properties={"total": number})
    story.publish()
    for api in apis:
        api.await_ready()
        await_that(api, lambda api=api: agrees(api), "all that is published is answered")
        api.reserved.release()


@rest
def test_an_outage_ends_answers_that_are_too_old_and_is_waited_out(
    stack: Stack, story: Story, network: FaultyNetwork
) -> None:
    slow = {"SEGOPS_KAFKA_REQUEST_TIMEOUT": "2s", "SEGOPS_SERVE_MAX_AGE": "3s"}
    api = ReadApi(stack, FAULTS_REDIRECT=network.redirection, **slow)
    api.await_ready()
    await_that(api, lambda: agrees(api), "all that is published is answered")
    network.down = True
    await_that(api, lambda: api.answer_about("user_id:u1") == 503, "answers are too old")
    assert api.page("/readyz")[0] == 503 and api.page("/healthz")[0] == 200
    story.event("Product Viewed", "u3 a3", properties={"total": 1})
    story.publish()
    network.down = False
    await_that(api, lambda: api.page("/readyz")[0] == 200 and agrees(api), "what was missed is answered")
    assert api.process.poll() is None
    api.process.terminate()  # before the network, which it is connected through
    api.process.wait()
    api.reserved.release()
