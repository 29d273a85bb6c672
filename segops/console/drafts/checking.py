"""The check of a draft: its mistakes at their places, the sentence that it says, its cost."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from pydantic import ValidationError

from segops.console.drafts.reading import SOURCE, At, Document, located, read_document
from segops.console.drafts.writing import written
from segops.core.errors import DefinitionError, Issue
from segops.core.lookups import Column, LookupTable, PublishedTable
from segops.core.rules.analysis import costs
from segops.core.rules.sentences import sentence
from segops.core.scans import with_references
from segops.core.scoring.models import Model
from segops.core.segments import Definition, SegmentSet, check_references
from segops.schemas.issues import form_issues
from segops.schemas.lookups import Blocks
from segops.schemas.published_models import carried_models
from segops.schemas.segment_reading import Reading
from segops.schemas.segments import SegmentFileForm, definition_to_record

Definitions = Mapping[str, Definition]
Models = Mapping[str, Model]


class Checked(NamedTuple):
    """A draft as far as it could be read.

    ``document``: None if the text is no document. ``definition``: None if the segment has mistakes.
    ``beside``: the definitions of the other segments, and of the published indicators, of its file.
    """

    document: Document | None
    definition: Definition | None
    errors: list[Issue]
    warnings: list[Issue]
    beside: tuple[Definition, ...] = ()

    @property
    def drafts(self) -> list[Definition]:
        """The segments of the file."""
        own = [] if self.definition is None else [self.definition]
        return [*own, *(each for each in self.beside if not each.is_indicator)]


def check(
    text: str, published: Definitions, *, json: bool, key: str = "", models: Models | None = None
) -> Checked:
    """Read a draft and find all its mistakes, references to unknown segments included. Never raises.

    ``published``: the definitions in force by key, whose look-up tables a draft may read, too. ``models``:
    those whose scores it may read; None: those that the definitions carry.
    """
    try:
        document = read_document(text, json=json, key=key)
    except DefinitionError as error:
        return Checked(None, None, error.issues, [])
    errors: list[Issue] = []
    warnings: list[Issue] = []
    models = carried_models(published.values()) if models is None else models
    reading = _reading(document, Known(published, models), errors, warnings)
    if reading is None:
        return Checked(document, None, errors, warnings)
    path = "segments[{}]"
    definition = reading.segment(document.segment, path.format(document.number))
    others = [
        reading.segment(each, path.format(number))
        for number, each in enumerate(document.form["segments"])
        if number != document.number
    ]
    beside = (*(each for each in others if each is not None), *reading.published)
    if definition is not None and not errors:
        errors += _broken_references(definition, beside, published, path.format(document.number))
    return Checked(document, None if errors else definition, errors, warnings, beside)


class Known(NamedTuple):
    """What a draft may read: the definitions in force by key, and the models by name."""

    published: Definitions
    models: Models


def _reading(document: Document, known: Known, errors: list[Issue], warnings: list[Issue]) -> Reading | None:
    """Return the reading of a document's segments, or None if the file around them is invalid."""
    try:
        form = SegmentFileForm.model_validate(document.form)
    except ValidationError as error:
        errors += form_issues(SOURCE, "", error)
        return None
    reading = Reading(SOURCE, errors, warnings)
    reading.use_rfm(form.rfm)
    reading.use_areas(form.places)
    reading.use_tables(Blocks(form.lookups, form.postal_codes))
    if reading.tables is not None:
        reading.tables = {**tables_in_force(known.published.values(), document.key), **reading.tables}
    reading.use_models(None, known.models)
    reading.use_scores(form.scores)
    reading.use_indicators(form.indicators)
    reading.publish_indicators()
    return reading


def tables_in_force(published: Iterable[Definition], first: str = "") -> dict[str, LookupTable]:
    """Return the look-up tables that published definitions read, by name.

    Of two contents of a column, the one that the definition with the key ``first`` reads counts.
    """
    found: dict[str, dict[str, Column]] = {}
    for definition in sorted(published, key=lambda each: each.key == first):
        for column in definition.columns:
            found.setdefault(column.table, {})[column.name] = column
    return {table: PublishedTable(columns) for table, columns in found.items()}


def _broken_references(
    definition: Definition, beside: Iterable[Definition], published: Definitions, path: str
) -> list[Issue]:
    try:
        check_references(referred(definition, beside, published))
    except DefinitionError as error:
        own = f"{definition.key}.when"
        return [
            Issue(SOURCE, f"{path}.when" if each.path == own else each.path, each.reason)
            for each in error.issues
        ]
    return []


def referred(
    definition: Definition, beside: Iterable[Definition], published: Definitions
) -> list[Definition]:
    """Return a draft and all segments that it refers to: of its file, else published ones."""
    written_ones = {each.key: each for each in beside if not each.is_indicator}
    return with_references([definition.key], {**published, **written_ones, definition.key: definition})


def fingerprint(definition: Definition | None) -> str:
    """Return a hash of a published definition, name and description included; empty for none.

    A person's edit names the one that it began with, so that an edit by another person is noticed.
    """
    if definition is None:
        return ""
    # Static lists are bound to definitions where they are read: another upload is no edit of the segment.
    unbound = msgspec.structs.replace(definition, lists=None)
    return hashlib.sha256(definition_to_record(unbound)).hexdigest()[:_HASH]


_HASH: Final = 16


def check_form(
    text: str, published: Definitions, *, json: bool, key: str = "", models: Models | None = None
) -> dict[str, Any]:
    """Return the check of a draft, as of ``check``, for its editor.

    ``definition``, ``json`` and ``yaml``: the document, None if the text is none; ``errors`` and
    ``warnings``: each with its place (``at``) in the document; ``sentence``, ``cost`` and ``hash``: None
    while there are mistakes.
    """
    found = check(text, published, json=json, key=key, models=models)
    form = None if found.document is None else found.document.form
    return {
        "definition": form,
        "json": None if form is None else msgspec.json.encode(form).decode(),
        "number": 0 if found.document is None else found.document.number,
        "yaml": None if form is None else written(form),
        "errors": [_issue_form(each, form) for each in found.errors],
        "warnings": [_issue_form(each, form) for each in found.warnings],
        "sentence": None if found.definition is None else sentence(found.definition.when),
        "hash": None if found.definition is None else found.definition.identity,
        "cost": _cost(found, published),
    }


def _issue_form(issue: Issue, form: Any) -> dict[str, Any]:
    at: At = located(issue.path, form)
    return {"at": list(at), "path": issue.path, "message": issue.reason}


def _cost(found: Checked, published: Definitions) -> dict[str, int] | None:
    if found.definition is None:
        return None
    segments = SegmentSet(referred(found.definition, found.beside, published))
    cost = next(each for each in costs(segments).segments if each.segment_key == found.definition.key)
    return {
        "leaves": cost.leaves,
        "features": cost.features,
        "timed_leaves": cost.timed_leaves,
        "state_bytes": cost.state_bytes,
    }
