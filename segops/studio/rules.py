"""Rules against a catalogue: read as ``segops check`` reads them, and held to the names that occur."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from segops.core.errors import DefinitionError, Issue
from segops.core.operators import Predicate
from segops.core.rules import model
from segops.core.scoring import SCORERS
from segops.core.segments import Definition
from segops.schemas.segment_reading import Reading
from segops.schemas.segments import definition_from_record, definition_to_record
from segops.studio.catalogue import Kind, StudioCatalogue
from segops.studio.literals import ANY, Literals, operands_of, structs_of

_KEY: Final = "proposed"


@dataclass(frozen=True)
class Checked:
    """A rule that was read: its definition if it is sound, and each mistake as ``path: reason``."""

    definition: Definition | None
    mistakes: tuple[str, ...] = ()


def check_rule(rule: object, catalogue: StudioCatalogue, key: str = _KEY) -> Checked:
    """Read a rule as an author writes it.

    Mistakes are those of ``segops check``, parts that always hold, names that the catalogue lacks, and a rule
    that does not survive its record on the segments topic.
    """
    issues: list[Issue] = []
    warnings: list[Issue] = []
    reading = Reading("rule", issues, warnings)
    reading.use_areas(areas_of(catalogue))
    reading.use_scores({name: {} for name in catalogue.scores if name not in SCORERS} or None)
    reading.segments([{"key": key, "when": rule}], "rule")
    always = [issue for issue in warnings if issue.reason.startswith("always holds")]
    found = [_text(issue) for issue in (*issues, *always)]
    if not reading.definitions:
        return Checked(None, tuple(found))
    definition = reading.definitions[0]
    found += [*foreign_names(definition.when, catalogue), *_changed(definition)]
    return Checked(None if found else definition, tuple(found))


def areas_of(catalogue: StudioCatalogue) -> dict[str, dict[str, float]] | None:
    """Return the places of a catalogue as a ``places`` block; None if it has none."""
    return {name: {"lat": lat, "lon": lon} for name, (lat, lon) in catalogue.places.items()} or None


def _text(issue: Issue) -> str:
    return f"{issue.path.removeprefix('rule[0].').replace('when', 'rule', 1)}: {issue.reason}"


def _changed(definition: Definition) -> Iterator[str]:
    try:
        same = definition_from_record(definition_to_record(definition))
    except DefinitionError as error:
        yield from (f"rule: cannot be published: {issue.reason}" for issue in error.issues)
        return
    if same is None or same.identity != definition.identity:
        yield "rule: another rule once it is published"


def foreign_names(node: model.Node, catalogue: StudioCatalogue) -> Iterator[str]:
    """Yield the names and values in a rule that the catalogue lacks, each in a sentence."""
    found = Literals().add(node)
    yield from _unknown("event", found.events - {ANY}, catalogue.events)
    for (name, path), tests in found.values.items():
        if name in catalogue.events and path[0]:
            yield from _foreign(f"property of {name}", path, tests, catalogue.events[name])
    for path, tests in found.traits.items():
        yield from _foreign("trait", path, tests, catalogue.traits)
    for struct in structs_of(node):
        for kind, what, names, known in _NAMED:
            if isinstance(struct, kind):
                yield from _unknown(what, names(struct), known(catalogue))


_Named = tuple[type, str, Callable[[Any], Iterable[str]], Callable[[StudioCatalogue], Iterable[str]]]
#: Node -> what it names, the names, and those that the catalogue has.
_NAMED: Final[tuple[_Named, ...]] = (
    (model.InSegment, "segment", lambda node: [node.key], lambda catalogue: catalogue.segments),
    (model.OnList, "list", lambda node: [node.key], lambda catalogue: catalogue.lists),
    (model.RfmNode, "RFM tier", lambda node: node.tiers, lambda catalogue: catalogue.rfm),
    (model.ScoreNode, "score", lambda node: [node.name], lambda catalogue: catalogue.scores),
)


def _foreign(
    what: str, path: tuple[str, ...], tests: Iterable[Predicate], kinds: Mapping[str, Kind]
) -> Iterator[str]:
    name = ".".join(path)
    if name not in kinds:
        yield from _unknown(what, [name], kinds)
        return
    if kinds[name].name != "choice":
        return
    texts = [each for test in tests for each in operands_of(test) if isinstance(each, str)]
    yield from _unknown(f"value of {name}", texts, kinds[name].values)


def _unknown(what: str, names: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    listed = list(known)
    for name in sorted(set(names) - set(listed)):
        yield f"unknown {what} {name!r}; known: {', '.join(sorted(listed)) or 'none'}"
