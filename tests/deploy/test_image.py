"""The image and the compose file name what exists: files, commands, options, settings, ports and versions."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from packaging.requirements import Requirement

from segops import __version__, config
from segops.cli import cli

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text("utf-8")
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
KAFKA = yaml.safe_load((ROOT / "docker-compose.kafka.yml").read_text("utf-8"))
OURS = {name: each for name, each in COMPOSE["services"].items() if "command" in each}
SETTINGS = {name: default for name, default, _ in config.variables()}

every_service = pytest.mark.parametrize("name", OURS)


# -- the image ---------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def final_instructions() -> list[tuple[str, str]]:
    found = instructions()
    starts = [number for number, (word, _) in enumerate(found) if word == "FROM"]
    return found[starts[-1] :]


def test_dockerfile_passes_hadolint() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, ROOT / "deploy/Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_final_instructions_builds_nothing_and_runs_as_a_numbered_user() -> None:
    words = dict(final_instructions())
    assert words["USER"] == "10001:10001"
    assert words["VOLUME"] == "/var/lib/segops"
    run = " ".join(text for word, text in final_instructions() if word == "RUN")
    assert not re.search(r"\b(apt|apt-get|pip install|gcc|make|curl)\b", run)
    copied = [text for word, text in final_instructions() if word == "COPY"]
    assert copied == ["--from=build /opt/segops /opt/segops"]
    assert all(
        text == "${PYTHON_IMAGE}" or text.endswith(" AS build") for w, text in instructions() if w == "FROM"
    )


def test_image_runs_a_command_that_exists_and_is_checked_by_its_health_route() -> None:
    words = dict(final_instructions())
    assert json.loads(words["ENTRYPOINT"]) == ["segops"]
    parse(json.loads(words["CMD"]))
    assert "/healthz" in words["HEALTHCHECK"] and str(SETTINGS["SEGOPS_WEB_PORT"]) in words["HEALTHCHECK"]
    named = set(re.findall(r"SEGOPS_\w+", DOCKERFILE))
    assert named == {"SEGOPS_DATA_DIR", "SEGOPS_WEB_PORT"} and named <= SETTINGS.keys()
    assert ("ARG", f"VERSION={__version__}") in final_instructions()


def test_build_context_has_what_is_copied() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8")
    allowed = re.findall(r"^!(\S+)$", ignored, re.MULTILINE)
    copied = [word for kind, text in instructions() if kind == "COPY" for word in shlex.split(text)[:-1]]
    sources = [word for word in copied if not word.startswith(("--", "/"))]
    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert any(Path(source).is_relative_to(entry) for entry in allowed), source


def pinned(file: str) -> dict[str, str]:
    text = (ROOT / "deploy/image" / file).read_text("utf-8")
    blocks = re.findall(r"^([\w.-]+)==([^\s;]+)[^\n]*((?:\n    --hash=\S+ ?\\?)+)", text, re.MULTILINE)
    assert len(blocks) == len(re.findall(r"^\w", text, re.MULTILINE)), "each package has hashes"
    return {name: version for name, version, _ in blocks}


def test_pinned_packages_are_those_that_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"]
    wanted = [
        *project["project"]["dependencies"],
        *extras["archive"],
        *extras["google"],
        *extras["oidc"],
        *extras["sources"],
    ]
    for file, requirements in [
        ("requirements.txt", wanted),
        ("build-requirements.txt", project["build-system"]["requires"]),
    ]:
        found = pinned(file)
        for requirement in map(Requirement, requirements):
            assert found[requirement.name] in requirement.specifier, f"make lock: {requirement}"


# -- the compose file --------------------------------------------------------------------------------------


def parse(words: list[str]) -> click.Context:
    """Parse a command line of segops. Raises click.UsageError for what does not exist."""
    context, command = click.Context(cli), cli
    while isinstance(command, click.Group):
        name, command, words = command.resolve_command(context, words)
        context = click.Context(command, info_name=name, parent=context)
    return command.make_context("segops", list(words))


def filled(text: str) -> str:
    """Return a value with the defaults of its ``${NAME:-default}``."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


@every_service
def test_service_runs_a_command_that_exists(name: str) -> None:
    parse([filled(word) for word in OURS[name]["command"]])


@every_service
def test_service_has_settings_that_exist_with_valid_values(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = OURS[name]["environment"]
    assert environment.keys() <= SETTINGS.keys()
    for variable in SETTINGS:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, filled(str(value)))
    assert config.load().kafka.bootstrap_servers == "kafka:19092"
    advertised = KAFKA["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert "NETWORK://kafka:19092" in advertised


@every_service
def test_service_is_confined(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    for port in service.get("ports", ()):
        host, outer, inner = port.split(":")
        assert host == "127.0.0.1" and outer == inner


#: The setting of the port of each service's health pages; the worker's check is that of the image.
_PORTS = {
    "collector": "SEGOPS_COLLECT_WEB_PORT",
    "sources": "SEGOPS_SOURCES_WEB_PORT",
    "catalogue": "SEGOPS_CATALOGUE_WEB_PORT",
    "activate": "SEGOPS_ACTIVATE_WEB_PORT",
    "serve": "SEGOPS_SERVE_WEB_PORT",
    "archive": "SEGOPS_ARCHIVE_WEB_PORT",
    "klaviyo": "SEGOPS_KLAVIYO_WEB_PORT",
}


def test_health_checks_ask_the_ports_of_the_services() -> None:
    assert set(OURS) == {*_PORTS, "worker", "topics"}
    for name, setting in _PORTS.items():
        test = OURS[name]["healthcheck"]["test"]
        assert test[:3] == ["CMD", "python", "-c"]
        compile(test[3], name, "exec")
        assert f"http://127.0.0.1:{SETTINGS[setting]}/healthz" in test[3]
        assert f"127.0.0.1:{SETTINGS[setting]}:{SETTINGS[setting]}" in OURS[name]["ports"]
    assert "healthcheck" not in OURS["worker"]
    assert OURS["topics"]["healthcheck"] == {"disable": True}


def references() -> Iterator[tuple[str, Any]]:
    for service in COMPOSE["services"].values():
        yield from (("services", name) for name in service.get("depends_on", ()))
        yield from (("secrets", name) for name in service.get("secrets", ()))
        volumes = [each.partition(":")[0] for each in service.get("volumes", ())]
        yield from (("volumes", name) for name in volumes)


def test_what_services_refer_to_is_declared() -> None:
    found = list(references())
    assert {kind for kind, _ in found} == {"services", "secrets", "volumes"}
    for kind, name in found:
        assert name in COMPOSE[kind], (kind, name)
    assert KAFKA["volumes"].keys() <= COMPOSE["volumes"].keys()


def test_everything_starts_after_what_it_needs() -> None:
    conditions = {name: each["depends_on"] for name, each in OURS.items()}
    assert conditions["topics"] == {"kafka": {"condition": "service_healthy"}}
    for name in OURS.keys() - {"topics"}:
        assert conditions[name]["topics"] == {"condition": "service_completed_successfully"}
    assert "healthcheck" in KAFKA["services"]["kafka"]


def test_secrets_are_files_of_those_that_read_them() -> None:
    for name, service in OURS.items():
        files = {f"/run/secrets/{each}" for each in service.get("secrets", ())}
        read = {value for value in service["environment"].values() if str(value).startswith("/run/secrets/")}
        assert files == read, name
    assert all(set(each) == {"environment"} for each in COMPOSE["secrets"].values())
