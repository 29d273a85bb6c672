"""Every declared metric is written by production code: a static analysis of the package."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from segops.collector.metrics import CollectorMetrics
from segops.console.metrics import ConsoleMetrics
from segops.mcp.metrics import McpMetrics
from segops.metrics import Metrics
from segops.serve.metrics import ServeMetrics
from segops.training.metrics import TrainingMetrics

PACKAGE = Path(__file__).parents[1] / "segops"
WRITERS = {"inc", "dec", "set", "observe", "info"}


@cache
def written_in(source: str) -> frozenset[str]:
    return frozenset(written(ast.parse(source)))


@cache
def texts_in(source: str) -> frozenset[object]:
    return frozenset(text_arguments(ast.parse(source)))


def written(tree: ast.AST) -> Iterator[str]:
    """Return the attributes of ``metrics`` that a module writes a sample of.

    Recognizes ``metrics.name.inc``, also after ``.labels(...)``, ``observe_all(metrics.name, ...)``, and
    local names bound to a metric or to an entry of a table of metrics.
    """
    bound = {name: value for assign in ast.walk(tree) for name, value in bindings(assign)}
    for node in ast.walk(tree):
        metric = None
        if isinstance(node, ast.Attribute) and node.attr in WRITERS:
            metric = without_call(node.value, "labels")
            if isinstance(metric, ast.Name):
                metric = without_call(bound.get(metric.id, metric), "get")
        elif isinstance(node, ast.Call) and last_name(node.func) == "observe_all":
            metric = node.args[0]
        if isinstance(metric, ast.Attribute) and last_name(metric.value) in ("metrics", "_metrics"):
            yield metric.attr


def bindings(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    if not isinstance(node, ast.Assign):
        return
    target, value = node.targets[0], node.value
    pairs = [(target, value)]
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = list(zip(target.elts, value.elts, strict=True))
    yield from ((name.id, bound) for name, bound in pairs if isinstance(name, ast.Name))


def without_call(node: ast.expr, method: str) -> ast.expr:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method:
        return node.func.value
    return node


def last_name(node: ast.expr) -> str | None:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None


def text_arguments(tree: ast.AST) -> Iterator[object]:
    """Yield every positional string argument; the names under which the core counts are among them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from (argument.value for argument in node.args if isinstance(argument, ast.Constant))


Declared = Metrics | CollectorMetrics | ServeMetrics | ConsoleMetrics | McpMetrics | TrainingMetrics


def unwritten(metrics: Declared, shell: Iterable[str], core: Iterable[str]) -> set[str]:
    """Return the names of the declared metrics that none of these sources writes.

    An entry of ``metrics.identities`` counts as written if the shell writes the table and the core its name.
    """
    declared = {name: value for name, value in vars(metrics).items() if isinstance(value, MetricWrapperBase)}
    direct = {name for text in shell for name in written_in(text)}
    counts = {text for source in core for text in texts_in(source)}
    by_table = {id(metric) for name, metric in getattr(metrics, "identities", {}).items() if name in counts}
    through_table = by_table if "identities" in direct else set()
    return {name for name, value in declared.items() if name not in direct and id(value) not in through_table}


def sources(of_core: bool) -> list[str]:
    core = PACKAGE / "core"
    paths = sorted(path for path in PACKAGE.rglob("*.py") if path.is_relative_to(core) == of_core)
    return [path.read_text("utf-8") for path in paths]


@pytest.mark.parametrize(
    "declaring", [Metrics, CollectorMetrics, ServeMetrics, ConsoleMetrics, McpMetrics, TrainingMetrics]
)
def test_every_declared_metric_is_written(declaring: type[Declared]) -> None:
    metrics = declaring(CollectorRegistry())
    assert unwritten(metrics, sources(of_core=False), sources(of_core=True)) == set()


def test_declaration_alone_counts_as_unwritten() -> None:
    metrics = Metrics(CollectorRegistry())
    everything = {name for name, value in vars(metrics).items() if isinstance(value, MetricWrapperBase)}
    declarations = (PACKAGE / "metrics.py").read_text("utf-8")
    assert unwritten(metrics, [declarations], sources(of_core=True)) == everything
    assert unwritten(metrics, [], []) == everything
    reads = "metrics.duplicates\nbuild = metrics.build\nother.late_events.inc()\nmetrics.merges.labels('a')"
    assert unwritten(metrics, [reads], []) == everything


def test_every_form_of_writing_a_metric_is_recognized() -> None:
    metrics = Metrics(CollectorRegistry())
    everything = unwritten(metrics, [], [])
    writes = {
        "self._metrics.duplicates.inc()": {"duplicates"},
        "metrics.dead_letters.labels(reason).inc(2)": {"dead_letters"},
        "restored = dependencies.metrics.recovery_records.inc": {"recovery_records"},
        "dependencies, gauge = 1, self.metrics.partitions_recovering\ngauge.set(0)": {
            "partitions_recovering"
        },
    }
    for source, names in writes.items():
        assert unwritten(metrics, [source], []) == everything - names
    table = "counter = metrics.identities.get(what)\ncounter.inc(n)"
    assert unwritten(metrics, [table], ["result.count('merged')"]) == everything - {"merges"}
    assert unwritten(metrics, [table], []) == everything
