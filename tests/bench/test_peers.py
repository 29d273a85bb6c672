"""The comparison is reliable: reproducible input, and no wrong output passes."""

from __future__ import annotations

import heapq
import json
from dataclasses import replace
from pathlib import Path

import pytest

from .peers.__main__ import ROWS, check_names
from .peers.apps import shop
from .peers.check import differences
from .peers.contestants import CONTESTANTS
from .peers.job import Job, Record, segments
from .peers.ledger import Ledger
from .peers.measure import figures
from .peers.process import Sample
from .peers.reference import Change, Reference, expected
from .peers.report import write

JOB = Job(events=10_000, profiles=1_000, partitions=3)


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return list(JOB.records())


@pytest.fixture(scope="module")
def reference(records: list[Record]) -> Reference:
    return expected(records, segments(), partitions=JOB.partitions, final_ms=JOB.final_ms)


def test_job_is_reproducible(records: list[Record]) -> None:
    assert records == list(JOB.records())
    assert records != list(replace(JOB, seed=8).records())


def test_events_are_ordered_and_of_realistic_size(records: list[Record]) -> None:
    assert [r.at_ms for r in records] == sorted(r.at_ms for r in records)
    assert all(600 <= len(r.value) <= 1_000 for r in records)


def test_every_segment_is_entered_and_exited(reference: Reference) -> None:
    for changes in (reference.timed, reference.at_events):
        assert {(c.segment, c.action) for c in changes} == {
            (segment.key, action) for segment in segments().segments for action in ("entered", "exited")
        }


def test_time_alone_causes_changes(reference: Reference) -> None:
    """An idle profile still exits segments: evaluation at events only misses these changes."""
    assert len(reference.timed) > len(reference.at_events)
    assert set(reference.timed) - set(reference.caused_by)


def test_handwritten_rules_agree_with_the_engine(records: list[Record], reference: Reference) -> None:
    changes, profiles = [], dict[str, shop.Profile]()
    for record in records:
        profile = profiles.setdefault(record.user, shop.new_profile())
        changes += _event(profile, record.user, record.value, record.at_ms)
    assert differences(reference.at_events, changes) == []


def test_handwritten_timers_agree_with_the_engine(records: list[Record], reference: Reference) -> None:
    changes, profiles = [], dict[str, shop.Profile]()
    due: list[tuple[int, str]] = []

    def pass_time(until: int) -> None:
        while due and due[0][0] <= until:
            at, user = heapq.heappop(due)
            changes.extend(Change(user, *change, at) for change in shop.evaluate(profiles[user], at))
            wait(user, at)

    def wait(user: str, at: int) -> None:
        edge = shop.next_edge(profiles[user], at)
        if edge is not None:
            heapq.heappush(due, (edge, user))

    for record in records:
        pass_time(record.at_ms)
        profile = profiles.setdefault(record.user, shop.new_profile())
        changes += _event(profile, record.user, record.value, record.at_ms)
        wait(record.user, record.at_ms)
    assert differences(reference.timed, changes) == []


def _event(profile: shop.Profile, user: str, value: bytes, at_ms: int) -> list[Change]:
    event = json.loads(value)
    assert shop.instant_ms(event["timestamp"]) == at_ms
    shop.apply(profile, event, at_ms)
    return [Change(user, *change, at_ms) for change in shop.evaluate(profile, at_ms)]


def test_correct_output_passes_in_any_order_of_profiles(reference: Reference) -> None:
    by_user = sorted(reference.timed, key=lambda change: change.user)
    assert differences(reference.timed, by_user) == []


@pytest.mark.parametrize("fault", ["missing", "twice", "wrong time", "wrong action", "swapped", "invented"])
def test_wrong_output_is_found(reference: Reference, fault: str) -> None:
    got = list(reference.timed)
    again = next(n for n, c in enumerate(got) if n and c[:2] in {other[:2] for other in got[:n]})
    before = next(n for n, c in enumerate(got) if c[:2] == got[again][:2])
    if fault == "missing":
        del got[again]
    elif fault == "twice":
        got.insert(again, got[again])
    elif fault == "wrong time":
        got[again] = got[again]._replace(at_ms=got[again].at_ms + 1)
    elif fault == "wrong action":
        got[again] = got[again]._replace(action=got[before].action)
    elif fault == "swapped":
        got[again], got[before] = got[before], got[again]
    else:
        got.append(Change("nobody", "premium", "entered", 0))
    (line,) = differences(reference.timed, got)
    assert "expected" in line


def test_time_is_measured_from_the_end_of_the_warm_up() -> None:
    """Measure ten events in one partition whose changes are a second apart."""
    changes = [Change("u", f"s{number}", "entered", number) for number in range(10)]
    caused_by = {change: (0, number) for number, change in enumerate(changes)}
    reference = Reference(at_events=changes, caused_by=caused_by, events=[10])
    output = [(1_000 * number, change) for number, change in enumerate(changes)]
    samples = [Sample(at_s=number, cpu_s=number / 2, rss_bytes=number) for number in range(11)]
    found = figures(reference, output, samples, warm_up=0.1)
    assert (found.events, found.wall_s, found.cpu_s, found.peak_rss_bytes) == (9, 9.0, 4.5, 10)


def test_unfinished_comparison_is_resumed(tmp_path: Path) -> None:
    file, about = tmp_path / "results.json", {"events": 1}
    ledger = Ledger.open(file, about, resume=False)
    ledger.add(0, "faust", {"per_cpu_second": 2.0})
    ledger.add(1, "faust", {"reason": "wrong"})
    resumed = Ledger.open(file, about, resume=True)
    assert resumed.has(0, "faust") and not resumed.has(0, "quix")
    assert (resumed.median("faust", "per_cpu_second"), resumed.reasons("faust")) == (2.0, ["wrong"])
    assert not Ledger.open(file, {"events": 2}, resume=True).runs
    assert not Ledger.open(file, about, resume=False).runs


def test_wrong_run_has_no_figure_on_the_page(tmp_path: Path) -> None:
    about = {
        "machine": "m",
        "java": 17,
        "broker": "b",
        "events": 1,
        "bytes": 1.0,
        "profiles": 1,
        "changes": 1,
    }
    ledger = Ledger.open(tmp_path / "results.json", about, resume=False)
    run = {"per_cpu_second": 90.0, "per_second": 90.0, "peak_rss_bytes": 1}
    ledger.add(0, "segops", run)
    ledger.add(0, "quix", {**run, "per_cpu_second": 30.0})
    ledger.add(0, "faust", {"reason": "7 histories differ\nthe first"})
    write(ledger, tmp_path)
    page = (tmp_path / "RESULTS-1.md").read_text()
    assert "| against Quix Streams, per CPU second, two devices each | at least 2.5 | 3.00 | met |" in page
    assert "| Faust 0.15.3 (0) | 7 histories differ |" in page
    assert "against Faust" not in page
    assert "segops" in (tmp_path / "per_cpu_second-1.svg").read_text()


def test_an_unknown_name_is_an_error_in_words() -> None:
    check_names("PEERS", "segops,quix", CONTESTANTS)
    check_names("ROWS", "", ROWS)
    with pytest.raises(SystemExit, match="PEERS: unknown 'kwix', expected some of segops, faust"):
        check_names("PEERS", "segops,kwix", CONTESTANTS)
