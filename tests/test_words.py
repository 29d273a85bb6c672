"""One word for each thing: names use the terms of ``segops/GLOSSARY.md``, not those that they replaced."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from enum import Enum
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.word_lists import ALLOWED, DELIVERY, IDIOMS, OF_DELIVERY

ROOT = Path(__file__).parents[1]
GLOSSARY = ROOT / "segops/GLOSSARY.md"
PYTHON = sorted(path for top in ("segops", "tests") for path in (ROOT / top).rglob("*.py"))

#: Former words, with their inflections -> the terms that replaced them. No part of a name may be one.
WORDS = {
    "lane lanes": "segment processor, resolve processor, control processor",
    "judge judges judged judging": "profile evaluator",
    "outlet outlets": "output, Kafka output, batch producer",
    "ways": "keyword arguments",
    "parts": "dependencies",
    "flight flights collected": "snapshot, partition snapshot",
    "disk disks": "store manager",
    "tail": "changelog reader",
    "restoring": "store restorer",
    "place places": "log partition, committed position",
    "tell tells told": "watermark",
    "breathe heavy": "over limit",
    "crowded": "needs compaction",
    "awaited": "has waiters",
    "pulse": "liveness fence",
    "turn turns outcome outcomes transition transitions": "step, step result",
    "parting parted": "split request, split off",
    "disputed": "contested identifier",
    "yield yields absorb absorbs absorbed join joins joined joining unjoined": "merge, merge request",
    "loser losers": "merge source, survivor",
    "portrait portraits portray": "profile view",
    "belonging": "membership view, origin check",
    "standing": "segment explanation",
    "bought": "purchase totals",
    "kept": "indexed feature",
    "person persons": "profile",
    "play": "run",
    "stage": "environment",
    "cast": "processes",
    "scene": "dashboard state",
    "moment moments": "input event",
    "rig": "fault cluster",
    "eyes": "Kafka inspector",
    "sabotage": "broken workers",
    "tangled": "contradictory rules",
    "aside": "quarantine",
    "mend mended mending": "repair",
    "kit": "helpers",
}
#: Former names of classes and modules whose words have a meaning of their own elsewhere.
NAMES = {
    "Test": "predicate",
    "InOrder": "sequence node",
    "RfmIs": "RFM node",
    "ScoreIs": "score node",
    "Held": "running value",
    "Channels": "producer channels",
    "Outputs": "batch producer",
    "Opener": "assignment opener",
    "Opened": "assignment",
    "Part": "dependencies",
    "Position": "committed position",
    "Inside": "window aggregate",
    "inside": "window aggregate",
    "crash": "failpoint",
    "figures": "capacity",
    "limits": "capacity",
}
_FORMER = {form: present for forms, present in WORDS.items() for form in forms.split()}
#: Forms without an ordinary meaning that fits: not even the names of tests, which are sentences, use them.
JARGON = frozenset(
    {
        "lane",
        "lanes",
        "outlet",
        "outlets",
        "portrait",
        "portray",
        "parting",
        "parted",
        "loser",
        "aside",
        "mended",
    }
)


class Kind(Enum):
    """What a name names."""

    TYPE = "a class or module"
    FUNCTION = "a function or method"
    VARIABLE = "a parameter, a field or an attribute"


class Name(NamedTuple):
    """A name, and the file that defines it."""

    path: str
    name: str
    kind: Kind = Kind.TYPE


def names_in(path: str, source: str) -> Iterator[Name]:
    """Yield the names that a module defines: its own, and all but those of local variables."""
    yield Name(path, Path(path).stem)
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ClassDef(name=name, body=body):
                yield Name(path, name)
                yield from (Name(path, field, Kind.VARIABLE) for field in fields_in(body))
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield Name(path, name, Kind.FUNCTION)
            case ast.arg(arg=name) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield Name(path, name, Kind.VARIABLE)


def fields_in(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the names that the body of a class assigns."""
    for statement in body:
        targets = (
            statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        )
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def words_of(name: str) -> list[str]:
    """The words of a name, in lower case.

    >>> words_of("RocksDBStore"), words_of("_wait_for_lane2")
    (['rocks', 'db', 'store'], ['wait', 'for', 'lane'])
    """
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def former_words(name: Name) -> Iterator[str]:
    """What a name should say instead, for each former word in it; what ALLOWED lists is left out."""
    statement = name.kind is Kind.FUNCTION and name.name.startswith("test_")
    for word in words_of(re.sub(rf"(?i){'|'.join(IDIOMS)}", "_", name.name)):
        if word in OF_DELIVERY and any(part in name.path for part in DELIVERY):
            continue
        if word in _FORMER and (word in JARGON or not statement):
            yield f"{word} -> {_FORMER[word]}"
    if name.kind is Kind.TYPE and name.name.strip("_") in NAMES:
        yield f"{name.name} -> {NAMES[name.name.strip('_')]}"


@cache
def found() -> dict[str, list[str]]:
    """``path name`` -> what it should say, for every name with a former word."""
    names = (
        name for path in PYTHON for name in names_in(str(path.relative_to(ROOT)), path.read_text("utf-8"))
    )
    return {f"{name.path} {name.name}": said for name in names if (said := list(former_words(name)))}


def test_no_name_uses_a_former_word() -> None:
    listed = {f"{path} {name}" for path, name in ALLOWED}
    assert {name: said for name, said in found().items() if name not in listed} == {}


def test_the_exceptions_hold_no_name_that_is_gone() -> None:
    listed = {f"{path} {name}" for path, name in ALLOWED}
    assert listed - set(found()) == set()


def test_an_exception_has_a_reason() -> None:
    assert all(reason.strip() for reason in (*ALLOWED.values(), *IDIOMS.values()))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("class SegmentLane: pass", ["lane -> segment processor, resolve processor, control processor"]),
        ("async def _judge_all(): pass", ["judge -> profile evaluator"]),
        ("class Held: pass", ["Held -> running value"]),
        ("class HeldEvent: pass\ndef Held(): pass\ndef judgement(): pass", []),
        ("def test_what_is_told_comes_in_turn(): pass", []),
        ("def test_a_lane_ends(): pass", ["lane -> segment processor, resolve processor, control processor"]),
        ("class A:\n    def told(self): pass", ["told -> watermark"]),
        ("class A:\n    disk: int = 0\n    kept = 1", ["disk -> store manager", "kept -> indexed feature"]),
        ("def f(*, told=1): told = other_told = 2", ["told -> watermark"]),
        ("a.b.pulse = a.crash = a.figures = 1", ["pulse -> liveness fence"]),
        ("a.sent_in_flight, A.MAX_IN_FLIGHT = a.flight, 2", []),
        ("a.flight_in_flight = 1", ["flight -> snapshot, partition snapshot"]),
    ],
)
def test_a_former_word_is_found_as_a_whole_word(source: str, said: list[str]) -> None:
    assert [word for name in names_in("segops/module.py", source) for word in former_words(name)] == said


def test_a_module_is_a_name_too() -> None:
    assert [list(former_words(name)) for name in names_in("segops/crash.py", "")] == [["crash -> failpoint"]]


# -- the glossary --------------------------------------------------------------------------------------


def terms() -> list[tuple[str, str, str]]:
    """Term, meaning and where it is defined, of each row of the glossary."""
    lines = (line for line in GLOSSARY.read_text("utf-8").splitlines() if line.startswith("| "))
    cells = ([cell.strip() for cell in line.strip("|").split(" | ")] for line in lines)
    return [(term, meaning, where) for term, meaning, where in cells if term != "term"]


def test_the_glossary_has_every_present_term() -> None:
    known = {term for term, _, _ in terms()}
    present = {term for cell in (*WORDS.values(), *NAMES.values()) for term in cell.split(", ")}
    assert present - known == set()


def test_the_glossary_has_each_term_once() -> None:
    assert [term for term, count in Counter(term for term, _, _ in terms()).items() if count > 1] == []


@pytest.mark.parametrize(("term", "meaning", "where"), terms(), ids=lambda cell: cell[:30])
def test_a_term_is_defined_where_the_glossary_says(term: str, meaning: str, where: str) -> None:
    assert meaning, term
    linked = re.fullmatch(r"\[`([^`]+)`\]\(([^)#]+)[^)]*\)", where)
    name, target = linked.groups() if linked else re.fullmatch(r"`(\w+)`, in `([\w/.]+)`", where).groups()  # type: ignore[union-attr]
    path = (GLOSSARY.parent if linked else ROOT) / target
    assert path.exists(), target
    if path.suffix == ".py" or path.is_dir():
        assert name in defined(path), f"{name} is not defined in {target}"


def defined(path: Path) -> set[str]:
    """The names that a module, or the modules of a folder, define at their top level, and their own."""
    if path.is_dir():
        return {name for module in path.glob("*.py") for name in defined(module)}
    names = {path.stem, path.parent.name}
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names
