"""RESULTS.md and its plots, generated from the ledger after every run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from .contestants import CONTESTANTS
from .ledger import Ledger, Values
from .plots import bars

MIB = 1 << 20

_METHOD = """\
## The job

JSON events in Segment's form over 45 days of event time, in order, by Zipf's law over the profiles (a tenth
of them has two thirds of the events): pages, products viewed, carts, orders, identifies. Ten segments:
counts in windows of 1 to 30 days, one of them filtered by a property, a sum of 30 days, a recency in both
directions, a trait, things not done. Changes (entered, exited) go to a topic; state is durable. No event is
sent twice and identities do not merge: segops looks out for both all the same, and publishes each change to
a compacted topic as well.

## The method

- One process of each on four partitions, one broker on the same machine, one after the other (A B C, A B
  C); medians. Faust and PyFlink, which take longer than all others together, have one turn only. Compare
  ratios: the machine's speed varies from hour to hour.
- The input is in its topic before a system starts. The first tenth counts for nobody: imports, rebalance,
  first compilation. From there to the last change; by the broker's timestamps of the output, which tell
  from the event that caused a change how far the system was.
- CPU time is that of the whole process tree (user and system, collector and compiler threads included),
  every 0.2 s from /proc. Memory is the most that its processes held resident
  together. What a system does after its last change, such as a last checkpoint, counts for nobody.
- Before a run counts, every change is compared with the reference (the engine in one process, no Kafka),
  per profile and segment, with its instant. One wrong, missing or second change, and the run has no figure.
  Systems that cannot wait for an instant are compared with what a judge who looks at events only would say.
- The programs are in [`peers/apps`](peers/apps) and [`peers/kafka_streams`](peers/kafka_streams), with the
  reasons for how they are written. The Python peers share the rules, written by hand for these ten
  segments; segops compiles its rules from the segment files.
"""


def write(ledger: Ledger, folder: Path) -> None:
    """Write the page and its plots."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "RESULTS.md").write_text("\n".join(_page(ledger)))
    for measure, title in (("per_cpu_second", "events per CPU second"), ("per_second", "events per second")):
        rows = [(CONTESTANTS[name].title, value) for name, value in _medians(ledger, measure)]
        if rows:
            (folder / f"{measure}.svg").write_text(bars("One process", rows, title))


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
    yield "Medians of as many runs as stand behind each name, the least and the most in brackets.\n"
    yield from _peers(ledger)
    yield "\n![events per CPU second](per_cpu_second.svg)\n"
    yield from _targets(ledger)
    yield from _rows(ledger)
    yield "\nWhere the time goes, what was tried, what a missed target needs: [`PROFILES.md`](PROFILES.md)."
    yield f"\n{_METHOD}"


def _peers(ledger: Ledger) -> Iterator[str]:
    heads = ("system", "events per CPU second", "segops is", "events per second", "segops is", "most memory")
    yield _line([*heads, "not done"])
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


#: What is asked for: measure, least (or most) ratio, and where the ratio is in the ledger.
_RATIOS: Sequence[tuple[str, str, float]] = (
    ("against Faust, per CPU second", "faust", 40),
    ("against Quix Streams, per CPU second", "quix", 3),
    ("against Bytewax, per CPU second", "bytewax", 3),
    ("against Kafka Streams, per CPU second", "kafka_streams", 1),
    ("against the ceiling, per CPU second", "ceiling", 0.25),
)


def _targets(ledger: Ledger) -> Iterator[str]:
    yield "\n## Targets\n\n| measure | target | found | |\n|---|---|---|---|"
    ours = ledger.median("segops", "per_cpu_second")
    for title, system, least in _RATIOS:
        theirs = ledger.median(system, "per_cpu_second")
        if ours and theirs:
            yield _line([title, f"at least {least}", f"{ours / theirs:.2f}", _met(ours / theirs >= least)])
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
