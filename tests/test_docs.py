"""The documentation matches the code: settings, metrics, nodes, commands, routes, links, examples."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from segops import config
from segops.api.sandbox import SandboxPages
from segops.api.scans import ScanPages
from segops.api.timeline import TimelinePages
from segops.cli import COMMANDS, cli
from segops.collector.metrics import CollectorMetrics
from segops.collector.plans import VIOLATION
from segops.collector.server import EVENT_PATHS, RUDDER_SETTINGS, SEGMENT_SETTINGS
from segops.collector.webhooks import SHOPIFY_PATH
from segops.collector.webhooks import UNREADABLE as SHOPIFY_SCHEMA
from segops.console.metrics import ConsoleMetrics
from segops.console.server import OWN_ROUTES
from segops.core.audiences.audit import AuditEntry
from segops.core.audiences.model import CHANNELS, Audience
from segops.core.features import MAX_ENTRIES
from segops.core.features.feature import PANES
from segops.core.operators import OPERATORS
from segops.core.rules.parsing import HEADS, WINDOW_KEYS
from segops.core.skips import FOUND
from segops.delivery.gates import CLOSED
from segops.destinations.published import load as load_destinations
from segops.fitting.imported import load_mapping as load_features
from segops.imports.model import load_map
from segops.kafka.topics import topic_specs
from segops.mcp.metrics import McpMetrics
from segops.metrics import Metrics
from segops.schemas.events import REJECT_REASONS
from segops.schemas.repairs import REPAIRS
from segops.schemas.segments import load_checked
from segops.serve.metrics import ServeMetrics
from segops.serve.server import MEMBERS, MEMBERSHIPS
from segops.sources.conversions import CONVERSIONS
from segops.sources.copying import SOURCE_REJECTIONS
from segops.sources.parsing import load as load_sources
from segops.streaming.partition.control import REFUSALS
from segops.streaming.web import worker_pages
from segops.tracking.model import VIOLATION_REASONS
from segops.tracking.parsing import load as load_plans
from segops.training.metrics import TrainingMetrics

ROOT = Path(__file__).parents[1]
FRONT, ARCHITECTURE = ROOT / "README.md", ROOT / "segops/README.md"
GUIDE, OPERATING = ROOT / "segops/core/rules/README.md", ROOT / "deploy/README.md"
AUDIENCES = ROOT / "segops/audiences.md"
DECISIONS = sorted((ROOT / "segops/adr").glob("*.md"))
#: test_spec compares the specification with the code; here only its links are checked.
SPEC = ROOT / "segops/core/rules/SPEC.md"
#: Pages without examples; here only their links are held.
OTHER_PAGES = [
    ROOT / name
    for name in (
        "CONTRIBUTING.md",
        "segops/GLOSSARY.md",
        "segops/serve.md",
        "segops/scorers.md",
        "segops/mcp/README.md",
        "segops/studio/commands.md",
        "tests/README.md",
        "deploy/connect/README.md",
    )
]
PAGES = [FRONT, ARCHITECTURE, GUIDE, AUDIENCES, OPERATING, ROOT / "CHANGELOG.md", *DECISIONS]


@cache
def text(page: Path) -> str:
    return page.read_text("utf-8")


def rows(page: Path) -> list[list[str]]:
    """Yield the cells of every table row of a page."""
    found = (
        line.strip("|").replace("\\|", "¦").split("|") for line in text(page).splitlines() if line[:1] == "|"
    )
    return [[cell.strip() for cell in cells] for cells in found]


def first_cells(page: Path) -> set[str]:
    """Return the names in backticks in the first cells of a page's tables."""
    return {name for cells in rows(page) for name in re.findall(r"`([^`]+)`", cells[0])}


def setting_rows() -> Iterator[list[str]]:
    for name, default, description in config.variables():
        yield [f"`{name}`", "–" if default is None else f"`{default}`", description]


def metric_rows() -> Iterator[list[str]]:
    registry = CollectorRegistry()
    worker = Metrics(registry)
    sections = (
        worker,
        worker.delivery,
        CollectorMetrics(registry),
        ServeMetrics(registry),
        ConsoleMetrics(registry),
        McpMetrics(registry),
        TrainingMetrics(registry),
    )
    for metric in (metric for section in sections for metric in vars(section).values()):
        if isinstance(metric, MetricWrapperBase):
            name = metric._name + {"counter": "_total", "info": "_info"}.get(metric._type, "")
            labels = ", ".join(f"`{label}`" for label in metric._labelnames) or "–"
            yield [f"`{name}`", metric._type, labels, metric._documentation]


@pytest.mark.parametrize("row", list(setting_rows()), ids=lambda row: row[0])
def test_every_setting_is_documented_with_its_default(row: list[str]) -> None:
    assert row in rows(ARCHITECTURE), f"missing: | {' | '.join(row)} |"


@pytest.mark.parametrize("row", list(metric_rows()), ids=lambda row: row[0])
def test_every_metric_is_documented_with_its_labels(row: list[str]) -> None:
    assert row in rows(ARCHITECTURE), f"missing: | {' | '.join(row)} |"


def test_documented_settings_and_metrics_exist() -> None:
    known = {row[0].strip("`") for row in (*setting_rows(), *metric_rows())}
    written = {name for name in first_cells(ARCHITECTURE) if re.fullmatch(r"SEGOPS_\w+|segops_\w+", name)}
    assert written - {"segops_version"} == known


@pytest.mark.parametrize(
    ("names", "what"), [(HEADS, "node"), (OPERATORS, "operator")], ids=["nodes", "operators"]
)
def test_every_node_and_operator_has_a_row_in_the_guide(names: dict[str, Any], what: str) -> None:
    assert set(names) <= first_cells(GUIDE), what


def test_every_window_has_a_row_in_the_guide() -> None:
    written = {name.split(":")[0] for name in first_cells(GUIDE)}
    assert set(WINDOW_KEYS) <= written


@pytest.mark.parametrize("head", HEADS)
def test_every_node_has_an_example_in_the_guide(head: str) -> None:
    assert any(head in _keys(yaml.safe_load(block)) for block in blocks(GUIDE, "yaml"))


def _keys(form: Any) -> set[str]:
    if isinstance(form, dict):
        return set(form) | {key for value in form.values() for key in _keys(value)}
    return {key for item in form for key in _keys(item)} if isinstance(form, list) else set()


def test_guide_states_the_bound_of_exactness() -> None:
    assert f"{MAX_ENTRIES:,} entries" in text(GUIDE)
    assert f"1/{PANES} of the window" in text(GUIDE)


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for below in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), below)
            assert found is not None
            yield from commands(found, f"{name} {below}")
    else:
        yield name, command


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_on_the_front_page(name: str) -> None:
    assert any(re.match(rf"segops {name}\b", cell) for cell in first_cells(FRONT))


@pytest.mark.parametrize(
    ("name", "command"), list(commands(cli, "segops")), ids=lambda value: str(value)[:30]
)
def test_every_option_of_a_command_is_documented(name: str, command: click.Command) -> None:
    options = [option for param in command.params for option in param.opts if option.startswith("--")]
    written = [cells for cells in rows(ARCHITECTURE) if cells[0] == f"`{name}`"]
    assert written, f"{name} has no row"
    assert re.findall(r"`(--[a-z-]+)`", written[0][1]) == options


@pytest.mark.parametrize(
    ("name", "command"), list(commands(cli, "segops")), ids=lambda value: str(value)[:30]
)
def test_help_describes_every_option(name: str, command: click.Command) -> None:
    assert command.help and command.epilog and "Example" in command.epilog
    assert [
        option.name for option in command.params if isinstance(option, click.Option) and not option.help
    ] == []


def test_every_route_is_documented() -> None:
    scans: Any = ScanPages(None, None)  # type: ignore[arg-type]
    timelines: Any = TimelinePages(None, None, None)  # type: ignore[arg-type]
    sandboxes: Any = SandboxPages(None, None)  # type: ignore[arg-type]
    pages = worker_pages(
        SimpleNamespace(live=1, ready=2),  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        scans,
        slow=(scans, timelines, sandboxes),
    )
    routes = pages.routes
    collector = [f"POST {path}" for path in (*EVENT_PATHS, SHOPIFY_PATH)]
    collector += [f"GET {path}" for path in (*SEGMENT_SETTINGS, *RUDDER_SETTINGS)]
    reads = [f"GET {path}" for path in (MEMBERSHIPS, MEMBERS, CLOSED)]
    written = {c for c in first_cells(ARCHITECTURE) if c.startswith(("GET ", "POST "))}
    assert {*routes, *collector, *reads, *OWN_ROUTES} == written


def test_every_reject_reason_and_conversion_is_documented() -> None:
    reasons = {*REJECT_REASONS, *REFUSALS, *SOURCE_REJECTIONS, *CONVERSIONS, VIOLATION, SHOPIFY_SCHEMA}
    assert reasons <= first_cells(ARCHITECTURE)
    assert all(f"`{reason}`" in text(ARCHITECTURE) for reason in VIOLATION_REASONS)


def test_every_repaired_or_ignored_input_is_documented() -> None:
    assert set(REPAIRS) <= first_cells(ARCHITECTURE)
    for found in FOUND:
        assert f"`{found}`" in text(ARCHITECTURE)


def test_every_topic_is_documented() -> None:
    names = {
        spec.name
        for spec in topic_specs(config.load(topics={"prefix": "segops."}, worker={"app_id": "segops"}))
    }
    assert names <= first_cells(ARCHITECTURE)
    of_format = {spec.name for spec in topic_specs(config.load(output={"format": "avro"}))} - names
    assert {name.replace(".avro.", ".FORMAT.") for name in of_format} <= first_cells(ARCHITECTURE)


# -- links and examples --------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [*PAGES, SPEC, *OTHER_PAGES], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_repository_resolves(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", re.sub(r"```.*?```", "", text(page), flags=re.S))
    for target in targets:
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text(page), flags=re.S | re.M)


OTHERS: dict[str, Callable[[Path], Any]] = {
    "sources": load_sources,
    "plans": load_plans,
    "map": load_map,
    "destinations": load_destinations,
    "features": load_features,
}


def examples() -> Iterator[Any]:
    for page in PAGES:
        for number, block in enumerate(blocks(page, "yaml"), 1):
            if any(f"\n{key}:" in block for key in (*OTHERS, "scenarios", "audiences")):
                continue  # run by test_scenarios; below
            yield pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")


@pytest.mark.parametrize(("key", "read"), OTHERS.items())
def test_every_example_of_other_files_is_valid(key: str, read: Callable[[Path], Any], tmp_path: Path) -> None:
    found = [block for page in PAGES for block in blocks(page, "yaml") if f"\n{key}:" in block]
    assert found
    for block in found:
        block = block.partition("audiences:")[0]
        path = tmp_path / f"{key}.yaml"
        path.write_text(block, "utf-8")
        assert read(path)


def test_every_example_of_an_audience_is_valid_and_every_key_is_explained(tmp_path: Path) -> None:
    found = [block for block in blocks(AUDIENCES, "yaml") if "\naudiences:" in block]
    assert found
    for block in found:
        path = tmp_path / "audiences.yaml"
        path.write_text(block, "utf-8")
        assert load_checked([path]).audiences
    fields = {*Audience.__struct_fields__, *AuditEntry.__struct_fields__, *CHANNELS} - {"written"}
    assert fields <= {
        name for cells in rows(AUDIENCES) for name in re.findall(r"`([a-z_]+)`", "".join(cells[:2]))
    }


@pytest.mark.parametrize("block", list(examples()))
def test_every_example_segment_passes_check(block: str, tmp_path: Path) -> None:
    form = yaml.load(block, yaml.BaseLoader)
    path = tmp_path / "segments.yaml"
    if "version" in form:
        path.write_text(block, "utf-8")
    else:
        rule = "\n".join(f"      {line}" for line in block.splitlines())
        others = "".join(
            f"  - {{key: {key}, when: {{did: A}}}}\n"
            for key in sorted(set(re.findall(r"in_segment: ([a-z-]+)", block)))
        )
        path.write_text(f"version: 1\nsegments:\n{others}  - key: example\n    when:\n{rule}\n", "utf-8")
    assert load_checked([path]).all_definitions


def test_every_decision_record_is_numbered_and_gives_reasons() -> None:
    assert len(DECISIONS) >= 8
    assert [path.name[:4] for path in DECISIONS] == [f"{n:04d}" for n in range(1, len(DECISIONS) + 1)]
    for path in DECISIONS:
        headings = re.findall(r"^#+ (.*)$", text(path), flags=re.M)
        assert headings[0].startswith(f"{path.name[:4]}: ")
        assert headings[1:] == ["Context", "Decision", "Consequences"]
