"""RESULTS.md and its plots, generated from the ledger after every run; one page for each number of events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from .contestants import CONTESTANTS
from .ledger import Ledger, Values
from .plots import bars

MIB = 1 << 20

_METHOD = """\
## The job

JSON events in Segment's format over 45 days of event time, in order, distributed over the profiles by Zipf's
law (a tenth of them has two thirds of the events): pages, product views, carts, orders, identifies. Ten
segments: counts in windows of 1 to 30 days, one of them filtered by a property, a sum over 30 days, a recency
in both directions, a trait, the absence of events. Changes (entered, exited) go to a topic; state is durable.
No event is duplicated and no identities merge. segops checks for both nevertheless, and also publishes each
change to a compacted topic.

## The method

- One process of each system on four partitions, one broker on the same machine, one after the other (A B C,
  A B C); medians. Faust and PyFlink, which take longer than all others together, run in the first round only.
  Compare ratios: the speed of the machine varies from hour to hour.
- The input is in its topic before a system starts. The first tenth is not measured: imports, rebalance, first
  compilation. The measurement lasts from there to the last change. Progress is read from the broker's
  timestamps of the output, by the event that caused each change.
- CPU time is that of the whole process tree (user and system, including garbage collector and compiler
  threads), sampled every 0.2 s from /proc. Memory is the peak resident memory of all its processes. Work
  after the last change, such as a last checkpoint, is not measured.
- Before a run counts, every change is compared with the reference (the engine in one process, without Kafka),
  per profile and segment, with its instant. A run with one wrong, missing or duplicate change has no figure.
  Systems without timers are compared with an evaluation at events only.
- The programs are in [`peers/apps`](peers/apps) and [`peers/kafka_streams`](peers/kafka_streams), with the
  reasons for their design. The Python peers share rules handwritten for these ten segments; segops compiles
  its rules from the segment files.
"""


#: The number of events of the page without a number in its name.
_USUAL = 1_000_000


def page_of(events: int) -> str:
    """Return the name of the page of a comparison.

    >>> page_of(1_000_000), page_of(300_000)
    ('RESULTS.md', 'RESULTS-300000.md')
    """
    return f"RESULTS{_ending(events)}.md"


def _ending(events: int) -> str:
    return "" if events == _USUAL else f"-{events}"


def write(ledger: Ledger, folder: Path) -> None:
    """Write the page and its plots."""
    folder.mkdir(parents=True, exist_ok=True)
    events = ledger.about["events"]
    (folder / page_of(events)).write_text("\n".join(_page(ledger)))
    for measure, title in (("per_cpu_second", "events per CPU second"), ("per_second", "events per second")):
        rows = [(CONTESTANTS[name].title, value) for name, value in _medians(ledger, measure)]
        if rows:
            plot = bars("One process", rows, title)
            (folder / f"{measure}{_ending(events)}.svg").write_text(plot)


def _medians(ledger: Ledger, measure: str) -> list[tuple[str, float]]:
    found = [(name, ledger.median(name, measure)) for name in CONTESTANTS]
    return [(name, value) for name, value in found if value is not None]


def _page(ledger: Ledger) -> Iterator[str]:
    yield "# segops beside its peers\n"
    yield "Written by `make bench-peers`.\n"
    yield "{machine}, Java {java}; broker {broker};".format(**ledger.about)
    yield "{events:,} events of {bytes:.0f} bytes, {profiles:,} profiles, {changes:,} changes.".format(
        **ledger.about
    )
    yield "Medians; in brackets, the number of runs after each name, minimum and maximum after each figure.\n"
    yield from _peers(ledger)
    yield f"\n![events per CPU second](per_cpu_second{_ending(ledger.about['events'])}.svg)\n"
    yield from _targets(ledger)
    yield from _rows(ledger)
    yield "\nWhere the time goes, what was tried, what a missed target needs: [`PROFILES.md`](PROFILES.md)."
    yield f"\n{_METHOD}"


def _peers(ledger: Ledger) -> Iterator[str]:
    heads = ("system", "events per CPU second", "segops is", "events per second", "segops is", "peak memory")
    yield _line([*heads, "omitted"])
    yield _line(["---"] * 7)
    for name, contestant in CONTESTANTS.items():
        cells = list(_cells(ledger, name))
        if cells:
            count = len(ledger.of(name, "per_cpu_second"))
            yield _line([f"{contestant.title} ({count})", *cells, contestant.left_out or "–"])
    if ledger.median("ceiling", "per_cpu_second"):
        yield _line(
            ["consume and decode alone: the ceiling", *_speeds(ledger, "ceiling"), "", "everything else"]
        )


def _cells(ledger: Ledger, name: str) -> Iterator[str]:
    memory = ledger.median(name, "peak_rss_bytes")
    if memory is not None:
        yield from _speeds(ledger, name)
        yield f"{memory / MIB:,.0f} MiB"
    elif reasons := list(ledger.reasons(name)):
        yield from (reasons[-1].splitlines()[0], "", "", "", "")


def _speeds(ledger: Ledger, name: str) -> Iterator[str]:
    for measure in ("per_cpu_second", "per_second"):
        theirs, ours = ledger.median(name, measure), ledger.median("segops", measure)
        assert theirs is not None
        low, high = min(ledger.of(name, measure)), max(ledger.of(name, measure))
        yield f"{theirs:,.0f} ({low:,.0f}–{high:,.0f})"
        yield f"{ours / theirs:,.2f} times" if ours and name != "segops" else "–"


#: The least ratios to a system of the ledger: with two devices per customer, and with user ids only.
_RATIOS: Sequence[tuple[str, str, float, float]] = (
    ("Kafka Streams", "kafka_streams", 2, 3),
    ("Quix Streams", "quix", 2.5, 3.5),
    ("Bytewax", "bytewax", 2.5, 3.5),
    ("Faust", "faust", 25, 35),
    ("the ceiling", "ceiling", 0.25, 0.33),
)


def _targets(ledger: Ledger) -> Iterator[str]:
    yield "\n## Targets\n\n| measure | target | measured | |\n|---|---|---|---|"
    devices = ledger.median("segops", "per_cpu_second")
    users = ledger.rows.get("known", {}).get("per_cpu_second")
    for title, system, *least in _RATIOS:
        theirs = ledger.median(system, "per_cpu_second")
        for job, ours, ratio in zip(
            ("two devices each", "user ids only"), (devices, users), least, strict=True
        ):
            if ours and theirs:
                found = f"{ours / theirs:.2f}", _met(ours / theirs >= ratio)
                yield _line([f"against {title}, per CPU second, {job}", f"at least {ratio}", *found])
    for row in ledger.rows.values():
        for target in row.get("targets", []):
            yield _line([target["measure"], target["target"], target["found"], _met(target["met"])])


def _met(met: bool) -> str:
    return "met" if met else "missed"


def _rows(ledger: Ledger) -> Iterator[str]:
    yield "\n## segops alone\n\n| measure | figure |\n|---|---|"
    for row in ledger.rows.values():
        yield from (_line([name, figure]) for name, figure in _figures(row))
    state = [run for run in ledger.runs if run["system"] == "segops" and run.get("profiles")]
    for run in state[-1:]:
        yield _line(["state on disk, bytes per profile", f"{run['disk_bytes'] / run['profiles']:,.0f}"])
        changelog = run["changelog_bytes"] / run["profiles"]
        yield _line(["changelog, bytes per profile, before compaction", f"{changelog:,.0f}"])


def _figures(row: Values) -> list[tuple[str, str]]:
    return [(name, str(figure)) for name, figure in row.get("figures", {}).items()]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
