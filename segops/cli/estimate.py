"""``segops estimate``: how many profiles a draft would hold."""

from __future__ import annotations

from pathlib import Path

import click

from segops.cli._edits import Percentage, warner
from segops.cli._params import samples_option
from segops.cli._say import say, say_all, say_table, warn
from segops.cli._scans import FORMAT, WAIT, interval_text, say_json, say_when, scan_for
from segops.cli.explain import segment_lines
from segops.core.errors import UserError
from segops.core.scans import MAX_SAMPLES
from segops.core.segments import Definition, check_references
from segops.kafka.definitions import DefinitionLog
from segops.operations.completing import complete
from segops.schemas.scan_views import EstimateView, view_estimate
from segops.schemas.scans import EstimateRequest, estimate_request
from segops.schemas.segments import load_drafts

_EPILOG = """
\b
Examples:
  segops estimate draft.yaml
  segops estimate segments/vip.yaml --segment vip --sample 1% --funnel
  segops estimate draft.yaml --samples 3 --format json
"""


@click.command(epilog=_EPILOG)
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option("--segment", metavar="KEY", help="The segment to estimate, if FILE has more than one.")
@click.option(
    "--sample",
    type=Percentage(),
    default="100%",
    show_default=True,
    help="Evaluate only this share of the profiles.",
)
@click.option("--funnel", is_flag=True, help="Also count the profiles that pass each node of the rule.")
@samples_option("Also show N profiles that the draft holds for, and why.", MAX_SAMPLES)
@click.option(
    "--near",
    type=click.IntRange(0, MAX_SAMPLES),
    default=0,
    metavar="N",
    help="Also show N profiles that are just in, and N that are just out, and why.",
)
@FORMAT
@WAIT
def command(
    file: Path,
    *,
    segment: str | None,
    sample: float,
    funnel: bool,
    samples: int,
    near: int,
    form: str,
    wait: float,
) -> None:
    """Show how many profiles of the running system a segment in FILE would hold, without publishing it.

    FILE is a segment file or a folder; its segments may refer to published ones, and take the place of those
    with the same keys. With --sample, the number is an estimate with a 95 % confidence interval; the sample
    is drawn by the hash of the profile id and is always the same. Features that no published segment needs
    are not stored in profiles: the draft finds them empty, and they are named. Exit status 1 if not all
    partitions answer in time.
    """
    loaded = load_drafts([file])
    warn_of = warner([file], loaded)
    drafts, chosen = loaded.definitions, _chosen(file, loaded.definitions, segment)

    def question(log: DefinitionLog) -> EstimateRequest:
        warn_of(log)
        written = {each.key for each in drafts}
        check_references([*drafts, *(each for each in log.definitions() if each.key not in written)])
        asked = complete(drafts, log)
        return estimate_request(chosen, asked, share=sample, samples=samples, funnel=funnel, near=near)

    asked, scanned = scan_for(question, wait_s=wait, drafts=drafts)
    view = view_estimate(scanned)
    if form == "json":
        say_json(view)
    else:
        _print(asked.segment, view)


def _chosen(file: Path, drafts: list[Definition], segment: str | None) -> str:
    keys = [each.key for each in drafts]
    if segment is None and len(keys) == 1:
        return keys[0]
    if segment is None:
        raise UserError(f"{file} has {len(keys)} segments: choose one with --segment: {', '.join(keys)}")
    if segment not in keys:
        raise UserError(f"unknown segment {segment!r}; {file} has: {', '.join(keys)}")
    return segment


def _print(key: str, view: EstimateView) -> None:
    say(f"{key}: {interval_text(view.members)} of {interval_text(view.profiles)} profiles")
    if view.sample < 1:
        say(f"from a sample of {view.sample * 100:g} %: {view.holds:,} of {view.evaluated:,} profiles")
    for label in view.incomplete:
        warn(f"not stored in profiles yet, or not in full: {label}")
    if view.failed:
        warn(f"the rule fails for {view.failed:,} profiles")
    if view.funnel:
        rows = [
            ("  " * each.depth + each.label, f"{each.holds:,}", f"{each.passes:,}") for each in view.funnel
        ]
        say_table(("node", "holds", "and those before"), rows, figures=("holds", "and those before"))
    for sample in view.samples:
        say()
        say(sample.profile_id)
        say_all(segment_lines(sample.explanation))
    for words, found in (("just in", view.just_in), ("just out", view.just_out)):
        for each in found:
            say()
            say(f"{each.profile_id}, {words}: {each.flips} {'node' if each.flips == 1 else 'nodes'} away")
            say_all(segment_lines(each.explanation))
    say_when(view)
