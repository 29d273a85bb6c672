"""Settings: read from variables, rejected with the variable's name, never showing a secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from segops import config
from segops.config.unknown import edits
from segops.core.errors import UserError
from segops.core.identifiers import Rules
from segops.schemas.identifying import DEFAULT, limits_of


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, _, _ in config.variables():
        monkeypatch.delenv(name, raising=False)


def refusal(**overrides: dict[str, object]) -> str:
    with pytest.raises(UserError) as caught:
        config.load(**overrides)
    return str(caught.value)


def test_defaults_are_valid_and_safe() -> None:
    settings = config.load()
    assert settings.engine.clock == "wall"
    assert (settings.engine.grace_ms, settings.engine.max_event_ahead_ms) == (1_000, 300_000)
    assert settings.engine.max_event_bytes == 36_864
    assert settings.checkpoint_interval_ms == 1_000
    assert settings.topics.partitions == 8
    assert settings.worker.web_host == "127.0.0.1"
    assert settings.worker.changelog == "segops-profiles-changelog"
    assert not settings.kafka.chosen


def test_default_checkpoint_interval_depends_on_the_guarantee() -> None:
    once: dict[str, object] = {"processing_guarantee": "exactly_once"}
    assert config.load(worker=once).checkpoint_interval_ms == 250
    assert config.load(worker=once, checkpoint={"interval_ms": "2s"}).checkpoint_interval_ms == 2_000


def test_variables_accept_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGOPS_KAFKA_BOOTSTRAP_SERVERS", "a:9092, b:9093")
    monkeypatch.setenv("SEGOPS_GRACE", "500ms")
    monkeypatch.setenv("SEGOPS_RETENTION", "2w")
    monkeypatch.setenv("SEGOPS_BLOCK_CACHE_BYTES", "64MiB")
    monkeypatch.setenv("SEGOPS_TOPIC_PREFIX", "shop.")
    settings = config.load()
    assert settings.kafka.bootstrap_servers == "a:9092,b:9093"
    assert settings.kafka.chosen
    assert settings.engine.grace_ms == 500
    assert settings.topics.retention_ms == 14 * 86_400_000
    assert settings.state.block_cache_bytes == 64 * 1024 * 1024
    assert settings.topics.membership_changes == "shop.membership.changes"


def test_override_takes_precedence_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGOPS_GRACE", "5s")
    monkeypatch.setenv("SEGOPS_CLOCK", "event")
    engine = config.load(engine={"grace_ms": 7}).engine
    assert (engine.grace_ms, engine.clock) == (7, "event")


def test_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGOPS_INSTANCE_ID", "")
    assert config.load().worker.instance_id is None


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("SEGOPS_GRACE", "soon", "expected a duration"),
        ("SEGOPS_GRACE", "1.5s", "expected a duration"),
        ("SEGOPS_GRACE", "-1s", "expected a duration"),
        ("SEGOPS_RETENTION", "0", "greater than 0"),
        ("SEGOPS_PARTITIONS", "0", "greater than or equal to 1"),
        ("SEGOPS_PARTITIONS", "eight", "valid integer"),
        ("SEGOPS_CLOCK", "sundial", "'wall' or 'event'"),
        ("SEGOPS_KAFKA_BOOTSTRAP_SERVERS", "kafka", "host:port"),
        ("SEGOPS_KAFKA_BOOTSTRAP_SERVERS", "http://kafka:9092", "host:port"),
        ("SEGOPS_TOPIC_PREFIX", "a b", "pattern"),
        ("SEGOPS_APP_ID", "my app", "letters"),
        ("SEGOPS_CHECKPOINT_INTERVAL", "1ms", "greater than or equal to 10"),
        ("SEGOPS_SESSION_TIMEOUT", "5s", "greater than or equal to 6000"),
        ("SEGOPS_PROCESSING_GUARANTEE", "at_most_once", "'at_least_once'"),
        ("SEGOPS_IDENTIFIERS", "email,user_id", "beginning with user_id"),
        ("SEGOPS_IDENTIFIERS", "user_id,email,email", "distinct types"),
        (
            "SEGOPS_EMAIL_SOURCES",
            "traits,property",
            "expected distinct names of traits, context.traits, ",
        ),
        ("SEGOPS_EMAIL_SOURCES", "traits,traits", "expected distinct names"),
        ("SEGOPS_EMAIL_SOURCES", "traits,", "separated by commas"),
        ("SEGOPS_IDENTIFIER_LIMITS", "email", "type=number"),
        ("SEGOPS_IDENTIFIER_LIMITS", "email=few", "type=number"),
    ],
)
def test_invalid_value_is_rejected_with_the_variable_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    message = refusal()
    assert message.startswith(f"{variable}: ")
    assert reason in message


def test_identity_rules_default_to_those_of_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limits_of(config.load()) == DEFAULT
    monkeypatch.setenv("SEGOPS_IDENTIFIERS", "user_id,card")
    monkeypatch.setenv("SEGOPS_IDENTIFIER_LIMITS", "card=2,*=3")
    monkeypatch.setenv("SEGOPS_BLOCKED_IDENTIFIERS", "Test, guest")
    limits = limits_of(config.load())
    assert limits.rules == Rules(("user_id", "card"), (("card", 2),), 3)
    assert limits.blocked == {"test", "guest"}


@pytest.mark.parametrize(
    ("written", "sources"),
    [
        ("traits", ("traits",)),
        ("properties, traits", ("traits", "properties")),
        ("properties,context.traits,traits", ("traits", "context.traits", "properties")),
    ],
)
def test_email_sources_have_one_order(
    monkeypatch: pytest.MonkeyPatch, written: str, sources: tuple[str, ...]
) -> None:
    monkeypatch.setenv("SEGOPS_EMAIL_SOURCES", written)
    assert limits_of(config.load()).email_sources == sources


def test_all_errors_are_reported_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGOPS_GRACE", "soon")
    monkeypatch.setenv("SEGOPS_WEB_PORT", "99999")
    assert [line.split(":")[0] for line in refusal().splitlines()] == ["SEGOPS_GRACE", "SEGOPS_WEB_PORT"]


def test_misspelled_override_is_rejected() -> None:
    assert "graec_ms" in refusal(engine={"graec_ms": 1})


def test_credentials_must_be_complete_and_stay_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGOPS_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("SEGOPS_KAFKA_SASL_PASSWORD", "hunter2")
    message = refusal()
    assert "SEGOPS_KAFKA_SASL_USERNAME is required by SASL_SSL" in message
    assert "hunter2" not in message
    monkeypatch.setenv("SEGOPS_KAFKA_SASL_USERNAME", "segops")
    settings = config.load()
    assert settings.kafka.sasl_password is not None
    assert settings.kafka.sasl_password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings)


def test_settings_are_immutable() -> None:
    with pytest.raises(ValidationError):
        config.load().engine.grace_ms = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("variable", "value", "meant", "misspelt"),
    [
        ("SEGOPS_GARCE", "1s", "SEGOPS_GRACE", True),
        ("SEGOPS_PARTITION", "3", "SEGOPS_PARTITIONS", True),
        ("SEGOPS_KAFKA_BOOTSTRAP_SERVER", "k:1", "SEGOPS_KAFKA_BOOTSTRAP_SERVERS", True),
        ("SEGOPS_WEBPORT", "1", "SEGOPS_WEB_PORT", True),
        ("SEGOPS_WEV_PORT", "6066", "SEGOPS_WEB_PORT", True),
        ("SEGOPS_PROCESSING_GUARANTY", "exactly_once", "SEGOPS_PROCESSING_GUARANTEE", True),
        ("SEGOPS_PORT", "6066", "SEGOPS_WEB_PORT", False),  # Kubernetes sets a URL
        ("SEGOPS_BOOTSTRAP_SERVERS", "k:1", "SEGOPS_KAFKA_BOOTSTRAP_SERVERS", False),
        ("SEGOPS_TEAM", "shop", None, False),
        ("SEGOPS_", "", None, False),
    ],
)
def test_unknown_variable_is_a_misspelling_or_unrelated(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, meant: str | None, misspelt: bool
) -> None:
    monkeypatch.setenv(variable, value)
    assert config.Unknown(variable, meant, misspelt) in config.unknown_variables()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SEGOPS_PORT", "tcp://10.0.0.1:6066"),
        ("SEGOPS_SERVICE_HOST", "10.0.0.1"),
        ("SEGOPS_SERVICE_PORT", "6066"),
        ("SEGOPS_SERVICE_PORT_HTTP", "6066"),
        ("SEGOPS_PORT_6066_TCP", "tcp://10.0.0.1:6066"),
        ("SEGOPS_PORT_6066_TCP_PROTO", "tcp"),
        ("SEGOPS_PORT_6066_TCP_PORT", "6066"),
        ("SEGOPS_PORT_6066_TCP_ADDR", "10.0.0.1"),
        ("SEGOPS_WORKER_PORT", "tcp://10.0.0.1:6066"),
        (
            "SEGOPS_WEV_PORT",
            "tcp://10.0.0.1:6066",
        ),  # a service's variable, although two letters from a setting
        ("SEGOPS_WORKER_SERVICE_HOST", "10.0.0.1"),
        ("SEGOPS_TEST_BROKER", "jvm"),
        ("SEGOPS_GRACE", "1s"),
        ("SEGOPSY_GRACE", "1s"),
    ],
)
def test_variables_of_kubernetes_and_of_the_tests_are_ignored(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert variable not in [found.name for found in config.unknown_variables()]


@given(st.text("ABC_", max_size=6), st.text("ABC_", max_size=6))
def test_edit_distance_is_symmetric_and_bounded(one: str, other: str) -> None:
    found = edits(one, other)
    assert found == edits(other, one)
    assert (found == 0) == (one == other)
    assert abs(len(one) - len(other)) <= found <= max(len(one), len(other))


def test_every_variable_has_a_description_and_a_unique_name() -> None:
    rows = list(config.variables())
    assert all(description.endswith(".") for _, _, description in rows)
    assert len({name for name, _, _ in rows}) == len(rows)
