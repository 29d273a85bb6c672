"""What a measured population becomes: a model that is ready, or one that says why it is not."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from segops.config import load
from segops.core.errors import UserError
from segops.core.scans import VOTES, Measured, Populations, groups_in, population_named
from segops.core.scoring.models import AffinityParameters
from segops.core.segments import Definition
from segops.kafka.definitions import DefinitionLog
from segops.operations.definitions import plan
from segops.operations.models import ModelEdit, next_version
from segops.operations.populations import Measurement, affinity_measurement, measurement
from segops.schemas.models import read_model
from segops.schemas.scans import PopulationRequest, Scanned
from segops.schemas.segments import load as load_segments
from tests.command import run
from tests.core.models import affinity

HOUR_MS = 3_600_000
NOW_MS = 1_800_000_000_000
SEGMENTS = """
version: 1
rfm: {recency: terciles, frequency: quartiles, monetary: [10]}
segments:
- {key: recent, when: {rfm: {recency: 3}}}
- {key: buyers, when: {did: Order Completed}}
"""


@pytest.fixture
def definitions(tmp_path: Path) -> list[Definition]:
    (tmp_path / "s.yaml").write_text(SEGMENTS)
    return load_segments([tmp_path / "s.yaml"])


def measured(definitions: list[Definition], profiles: int) -> Measurement:
    hours = {str(NOW_MS // HOUR_MS - 10 * number): 1 for number in range(profiles)}
    frequency = {"1": profiles - 1, "7": 1} if profiles else {}
    result = Populations({"rfm": Measured(profiles, {"recency": hours, "frequency": frequency})})
    groups = groups_in(population_named("rfm", definitions))
    return measurement("rfm", groups, Scanned(NOW_MS - 5, NOW_MS, profiles, 0, result), now_ms=NOW_MS + 9)


def test_measured_edges_are_a_model(definitions: list[Definition]) -> None:
    found = measured(definitions, 9)
    assert found.edges == {"recency": (30 * HOUR_MS, 60 * HOUR_MS), "frequency": (1, 1, 1)}
    assert (found.model.status, found.model.trained_on["customers"]) == ("ready", 9)
    assert found.model.written["parameters"]["histogram"]["frequency"] == [[1, 8], [7, 1]]


@pytest.mark.parametrize("profiles", [0, 3])
def test_with_fewer_customers_than_groups_there_are_no_edges(
    definitions: list[Definition], profiles: int
) -> None:
    model = measured(definitions, profiles).model
    assert not model.is_ready
    assert model.reasons == (f"{profiles} customers have digits, at least 4 are needed",)


def test_publication_changes_the_rules_that_read_the_grid(definitions: list[Definition]) -> None:
    log = DefinitionLog()
    log.apply_models([])
    for change in plan(log, definitions, prune=False):
        assert change.record is not None
        log.apply(change.key.encode(), change.record)
    edit = ModelEdit(load(), next_version(measured(definitions, 9).model, "rfm"))
    (changed,) = edit.decide(log)
    assert (changed.key, changed.version, changed.action) == ("recent", 2, "changed")
    assert changed.record is not None
    log.apply(b"recent", changed.record)
    grid: Any = log.live["recent"].when
    assert grid.rfm.recency_ms == (30 * HOUR_MS, 60 * HOUR_MS) and grid.rfm.monetary == (Decimal(10),)
    assert log.live["recent"].models is not None and set(log.live["recent"].models) == {"rfm"}


def test_request_names_each_model_once() -> None:
    request = PopulationRequest(("rfm", "percentile.p_alive"))
    assert msgspec.json.decode(msgspec.json.encode(request), type=PopulationRequest) == request
    for wrong in ((), ("rfm", "rfm")):
        with pytest.raises(ValueError, match="one or more different models"):
            PopulationRequest(wrong)


def test_refreshes_are_an_hour_apart() -> None:
    done = run("models", "refresh", "rfm", "--every", "59m")
    assert done.status == 2 and "--every: expected at least 1h" in done.err


def voted(profiles: int, **parameters: Any) -> Measurement:
    model = read_model(affinity(values=2, **parameters), "a.json")
    histograms = {VOTES: {"hats": 3_000_000, "shoes": 6_000_000, "socks": 1_000_000}}
    result = Populations({model.name: Measured(profiles, histograms)})
    return affinity_measurement(model, Scanned(NOW_MS - 5, NOW_MS, profiles, 0, result), now_ms=NOW_MS + 9)


def test_measured_shares_are_a_model_that_counts_as_before() -> None:
    found = voted(20, least=3, shares=None)
    assert found.shares == {"shoes": 0.6, "hats": 0.3}
    parameters = found.model.parameters
    assert isinstance(parameters, AffinityParameters)
    assert (parameters.least, parameters.shares, parameters.profiles) == (
        3,
        (("hats", 0.3), ("shoes", 0.6)),
        20,
    )
    assert parameters.measured_at_ms == NOW_MS and found.model.trained_on["customers"] == 20
    assert found.model.written["parameters"]["values"] == 2


def test_shares_of_few_customers_are_not_published() -> None:
    with pytest.raises(UserError, match="19 customers have counts, at least 20 are needed"):
        voted(19)
