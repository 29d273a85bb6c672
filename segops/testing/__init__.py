"""The test kit: test segments, and what surrounds the engine, from Python, without Kafka or waiting.

The names in ``__all__`` are public. They need nothing but segops itself, so any test runner will do.
"""

from segops.schemas.scenarios import load_scenarios
from segops.testing.clock import FakeClock
from segops.testing.customer import Customer, Flip, at, definition, flips, segments
from segops.testing.output import Forwarded, RecordingOutput
from segops.testing.scenarios import ScenarioResult, run_scenario
from segops.testing.scorers import check_scorer

__all__ = [
    "Customer",
    "FakeClock",
    "Flip",
    "Forwarded",
    "RecordingOutput",
    "ScenarioResult",
    "at",
    "check_scorer",
    "definition",
    "flips",
    "load_scenarios",
    "run_scenario",
    "segments",
]
