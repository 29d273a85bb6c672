"""The gate of a destination: what is said of it while it takes nothing."""

from __future__ import annotations

import logging

import pytest
from prometheus_client import CollectorRegistry

from segops.delivery.gates import Gate
from segops.metrics import Metrics


def test_each_reason_that_a_person_has_to_mend_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate("crm", Metrics(CollectorRegistry()), now=lambda: 0.0)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            gate.away("status 500", 0.0)
            gate.away("status 503", 0.0)
        for _ in range(2):
            gate.refuses("the list L1 does not exist")
        gate.open()
    said = [each.getMessage() for each in caplog.records]
    assert said == [
        "the destination crm takes nothing: status 500",
        "the destination crm takes nothing: the list L1 does not exist",
        "the destination crm takes messages again",
    ]
