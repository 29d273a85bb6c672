"""Every command against every kind of simple user error: status 2 and a message that names it."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from segops import config
from segops.cli import COMMANDS
from tests.cli.calls import CALLS, KAFKA, PATIENT
from tests.conftest import NOWHERE
from tests.rest import in_rest

Run = Callable[..., Any]

SEGMENTS = "version: 1\nsegments:\n- {key: a, when: {did: A}}\n"
SOURCES = "version: 1\nsources:\n- {topic: a, format: json, map: {event: A, userId: id}}\n"
DESTINATIONS = (
    "version: 1\ndestinations: [{name: a, kind: webhook, url: http://a.example, secrets: [{env: A}]}]"
)
AUDIENCES = "version: 1\naudiences:\n- {key: a, segment: a, channel: email}\n"
PLANS = "version: 1\nplans:\n- {source: website, events: {A: {}}}\n"
MAP = "{version: 1, map: {event: A, userId: userId, timestamp: timestamp}}\n"
SENTENCES = (
    "version: 1\nnow: 2026-11-26\ncatalogues: {a: {events: {A: {}}}}\n"
    "cases:\n- {id: a, level: 1, catalogue: a, sentence: did A, expect: {rule: {did: A}}}\n"
)
MODEL = (
    '{"name": "spending", "kind": "gamma-gamma", "fitted_at": "2026-01-01T00:00:00Z",'
    ' "parameters": {"p": 6, "q": 4, "gamma": 15}}'
)
EXPORTED = '{"feature_names_in_": ["a"], "coef_": [1], "intercept_": 0}'
EVENT = '{"type":"track","event":"A","userId":"u","messageId":"m","timestamp":"2026-03-01T10:00:00Z"}\n'


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, _, _ in config.variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SEGOPS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SEGOPS_ARCHIVE_URL", f"file://{tmp_path}/archive")
    monkeypatch.setenv("SEGOPS_KLAVIYO_API_KEY", "pk_1")
    monkeypatch.setenv("SEGOPS_OUTPUT_FORMAT", "segment")
    monkeypatch.setenv("SEGOPS_ACTOR", "ann")
    monkeypatch.setenv("SEGOPS_COLLECT_KEYS", "website=wk-website-1")
    (tmp_path / "good.yaml").write_text(SEGMENTS)
    (tmp_path / "good.jsonl").write_text(EVENT)
    (tmp_path / "sources.yaml").write_text(SOURCES)
    (tmp_path / "plans.yaml").write_text(PLANS)
    (tmp_path / "destinations.yaml").write_text(DESTINATIONS)
    (tmp_path / "audiences.yaml").write_text(AUDIENCES)
    (tmp_path / "sentences.yaml").write_text(SENTENCES)
    (tmp_path / "map.yaml").write_text(MAP)
    (tmp_path / "model.json").write_text(MODEL)
    (tmp_path / "exported.json").write_text(EXPORTED)
    (tmp_path / "features.yaml").write_text("{version: 1, features: {a: {figure: {did: A}}}}")
    (tmp_path / "table.csv").write_text("id,price\np1,5\n")
    (tmp_path / "histories.csv").write_text("frequency,recency,T\n1,5,9\n0,0,9\n")


# -- files -----------------------------------------------------------------------------------------

#: Commands that read segments, scenarios or events from FILE.
READERS: dict[str, list[str]] = {
    "check": ["check", "FILE"],
    "apply": ["apply", "FILE"],
    "estimate": ["estimate", "FILE"],
    "plan": ["plan", "FILE"],
    "test": ["test", "FILE"],
    "audiences-apply": ["audiences", "apply", "FILE"],
    "destinations-apply": ["destinations", "apply", "FILE"],
    "sources-apply": ["sources", "apply", "FILE"],
    "tracking-plans-apply": ["tracking-plans", "apply", "FILE"],
    "tracking-plans-test": ["tracking-plans", "test", "FILE"],
    "import-map": ["import", "good.jsonl", "--map", "FILE", "--dry-run"],
    "replay-segments": ["replay", "--segments", "FILE", "--events", "good.jsonl"],
    "replay-events": ["replay", "--segments", "good.yaml", "--events", "FILE"],
    "explain-segments": ["explain", "--profile", "user_id:u", "--segments", "FILE", "--events", "good.jsonl"],
    "explain-events": ["explain", "--profile", "user_id:u", "--segments", "good.yaml", "--events", "FILE"],
    "produce": ["produce", "FILE"],
    "models-check": ["models", "check", "FILE"],
    "models-publish": ["models", "publish", "FILE"],
    "models-import": ["models", "import", "FILE", "--name", "b", "--features", "features.yaml"],
    "models-features": ["models", "import", "exported.json", "--name", "b", "--features", "FILE"],
    "lookups-put": ["lookups", "put", "products", "FILE", "--key", "id"],
    "studio-catalogue": ["studio", "propose", "--catalogue", "FILE", "bought twice"],
    "studio-eval": ["studio", "eval", "FILE"],
    "studio-rule": ["studio", "propose", "--rule", "FILE", "only in France"],
    "studio-suggest": ["studio", "suggest", "--catalogue", "FILE"],
}


def _missing(folder: Path) -> Path:
    return folder / "nowhere.yaml"


def _folder(folder: Path) -> Path:
    (folder / "sub.jsonl").mkdir()
    return folder / "sub.jsonl"


def _below_a_file(folder: Path) -> Path:
    return folder / "good.yaml" / "x.yaml"


def _unreadable(_folder: Path) -> Path:
    return Path("/proc/self/mem")  # opens even for root, but every read fails


def _odd_name(folder: Path) -> Path:
    return folder / os.fsdecode(b"no\xff\x1b[2Jwhere.yaml")


def _too_long_a_name(folder: Path) -> Path:
    return folder / ("x" * 300 + ".yaml")


def _no_utf8(folder: Path) -> Path:
    path = folder / "latin.yaml"
    path.write_bytes(SEGMENTS.encode() + b"# caf\xe9\n")
    return path


def _binary(folder: Path) -> Path:
    path = folder / "binary.yaml"
    path.write_bytes(bytes(range(256)))
    return path


def _no_gzip(folder: Path) -> Path:
    path = folder / "plain.gz"
    path.write_text(EVENT)
    return path


def _cut_gzip(folder: Path) -> Path:
    path = folder / "cut.gz"
    path.write_bytes(gzip.compress(EVENT.encode() * 9)[:-9])
    return path


FILES: list[Callable[[Path], Path]] = [
    _missing,
    _folder,
    _below_a_file,
    _unreadable,
    _odd_name,
    _too_long_a_name,
    _no_utf8,
    _binary,
    _no_gzip,
    _cut_gzip,
]


@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("reader", READERS)
def test_an_unusable_file_is_named(
    segops: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, make: Callable[[Path], Path]
) -> None:
    monkeypatch.chdir(tmp_path)
    # Nothing listens there: a file must be rejected before the command contacts a broker.
    monkeypatch.setenv("SEGOPS_KAFKA_BOOTSTRAP_SERVERS", NOWHERE)
    file = make(tmp_path)
    done = segops(*(file if word == "FILE" else word for word in READERS[reader]))
    if reader == "replay-events" and make in (_no_utf8, _binary):
        assert (done.status, "invalid events" in done.err) == (0, True)
        return
    assert done.status == 2
    assert done.out == "" or make is _cut_gzip  # the readable part was replayed
    assert "\x1b" not in done.err
    named = "user_id:u" if reader == "explain-events" and make in (_no_utf8, _binary) else file.name
    assert named[:2] in done.err


# -- settings --------------------------------------------------------------------------------------


def test_the_table_calls_every_command() -> None:
    assert {words[0] for words in CALLS.values()} == set(COMMANDS)


@pytest.mark.parametrize("name", CALLS)
def test_every_command_rejects_a_misspelt_setting(
    segops: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGOPS_KAFKA_BOOTSTRAP_SERVER", "kafka:9092")
    done = segops(*CALLS[name])
    message = "unknown setting SEGOPS_KAFKA_BOOTSTRAP_SERVER; did you mean SEGOPS_KAFKA_BOOTSTRAP_SERVERS?\n"
    assert (done.status, done.out, done.err) == (2, "", message)


@dataclass(frozen=True)
class Setting:
    variable: str
    value: str
    reason: str
    commands: tuple[str, ...] = (*KAFKA, "profile", "replay", "explain")


SETTINGS = [
    Setting("SEGOPS_KAFKA_BOOTSTRAP_SERVERS", "kafka:65536", "expected a port from 1 to 65535"),
    Setting("SEGOPS_KAFKA_BOOTSTRAP_SERVERS", "kafka:0", "expected a port from 1 to 65535"),
    Setting(
        "SEGOPS_KAFKA_BOOTSTRAP_SERVERS",
        "kafka..example:9092",
        "expected host:port pairs separated by commas",
    ),
    Setting(
        "SEGOPS_KAFKA_BOOTSTRAP_SERVERS", "x" * 64 + ":9092", "expected host:port pairs separated by commas"
    ),
    Setting("SEGOPS_KAFKA_BOOTSTRAP_SERVERS", "kafka\n:9092", "expected host:port pairs separated by commas"),
    Setting("SEGOPS_WEB_PORT", "65536", "less than or equal to 65535"),
    Setting("SEGOPS_WEB_PORT", "tcp://10.0.0.1:6066", "valid integer"),
    Setting("SEGOPS_WEB_HOST", "my host", "invalid host name or address"),
    Setting("SEGOPS_WEB_HOST", "a..b", "invalid host name or address"),
    Setting("SEGOPS_ADVERTISED_HOST", "http://here", "invalid host name or address"),
    Setting("SEGOPS_WEB_TOKEN", "secret\n", "must consist of visible ASCII characters"),
    Setting("SEGOPS_WEB_TOKEN", "geheimniß", "must consist of visible ASCII characters"),
    Setting("SEGOPS_WEB_TOKEN", "two words", "must consist of visible ASCII characters"),
    Setting("SEGOPS_LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
]


def _settings() -> Iterator[Any]:
    """Yield each setting with each command; `make test` runs each command with one setting."""
    for first, setting in enumerate(SETTINGS):
        for number, name in enumerate(setting.commands, first):
            case = in_rest if number % len(SETTINGS) else pytest.param
            yield case(name, setting, id=f"{name}-{setting.variable}-{setting.value[:12]!r}")


@pytest.mark.parametrize(("name", "setting"), list(_settings()))
def test_an_invalid_setting_is_named_without_its_value(
    segops: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, setting: Setting
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(setting.variable, setting.value)
    done = segops(*CALLS[name])
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"{setting.variable}: ")
    assert setting.reason in done.err
    assert setting.value not in done.err


@pytest.mark.parametrize("name", sorted({*KAFKA} - {*PATIENT}))
def test_an_unreachable_broker_is_reported_with_its_address(
    segops: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    address = NOWHERE
    monkeypatch.setenv("SEGOPS_KAFKA_BOOTSTRAP_SERVERS", address)
    done = segops(*CALLS[name])
    assert done.status == 2
    assert f"{address}: connection refused" in done.err


# -- folders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["worker", "--data-dir", "/proc/segops"], "cannot use the data folder /proc/segops/worker-0"),
        (["worker", "--data-dir", "good.jsonl/x"], "cannot use the data folder"),
        (["broker", "--kind", "embedded", "--data-dir", "/proc/segops"], "/proc/segops"),
        (["broker", "--kind", "embedded", "--data-dir", "good.jsonl/x"], "good.jsonl/x"),
        (["demo", "--limit", "1", "--data-dir", "/proc/segops"], "/proc/segops"),
        (["demo", "--limit", "1", "--data-dir", "good.jsonl/x"], "good.jsonl/x"),
    ],
)
def test_a_folder_that_cannot_be_created_is_named(
    segops: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = segops(*words)
    assert done.status == 2
    assert message in done.err


# -- URLs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["ftp://x", "127.0.0.1:6066", "http://[::1", "http://x:99999", "http://x:y", "http://a..b", "http://a b"],
)
def test_an_invalid_url_is_a_user_error(segops: Run, url: str) -> None:
    done = segops("profile", "user_id:u", "--url", url)
    assert (done.status, done.out) == (2, "")
    assert "expected a worker's URL like" in done.err
