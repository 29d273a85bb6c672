"""Models: those that give scores, how good they are, until when they are valid, and who reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from segops.console.drafts.scores import UNREADABLE, library_of, readers_of
from segops.console.page import Action, Context, Data, NotFound, Page
from segops.console.pages import data
from segops.console.pages._activation import curl
from segops.console.people.shown import text_of
from segops.console.rendering import quoted
from segops.core.indicators import INDICATOR_PREFIX
from segops.core.rules.wording import figure_text
from segops.core.scoring.models import Model, OwnParameters, TreesParameters, WeightedParameters
from segops.schemas.model_views import doubts, is_stale
from segops.schemas.models import written
from segops.schemas.published_models import ModelLog, PublishedModel

#: Figures of quality -> their names on the page, and how they are written.
_FIGURES: Final[Mapping[str, tuple[str, str]]] = {
    "auc": ("AUC", "0.5 is chance, 1 is perfect order"),
    "ece": ("Calibration error", "mean distance of a prediction and what followed"),
    "brier": ("Brier score", "mean squared error"),
    "base_brier": ("Brier score of the base rate", "what a prediction must beat"),
    "progressive_auc": ("AUC while learning", "on events that came after each state of the model"),
    "log_likelihood": ("Log-likelihood", ""),
    "rows": ("Held-out decisions", ""),
    "positives": ("of them followed by the event", ""),
}
_TONES: Final[Mapping[str, str]] = {"ready": "good", "stale": "warn", "unreadable": "bad"}
#: The sides of the picture of a calibration, and the parts that its axes have.
_SIZE: Final = 240
_STEPS: Final = 5
_MOST_TEXT: Final = 400


# -- all models --------------------------------------------------------------------------------------------


async def _models(context: Context[Any]) -> Data:
    library, readers = library_of(context.board), readers_of(context.board)
    return {
        "as_of_ms": context.board.as_of_ms,
        "tabs": data.tabs(),
        "models": [_row(context, library, name, readers.get(name, [])) for name in library.names()],
        "lacking": _lacking(library, readers),
        "cli": "segops models list",
        "curl": curl(context, "/data/models.json"),
    }


def _row(context: Context[Any], library: ModelLog, name: str, used_by: list[str]) -> Data:
    common = {"name": name, "href": f"/data/models/{quoted(name)}", "used_by": _users(context, used_by)}
    found = _version(library, name, library.newest(name))
    if isinstance(found, str):
        return {**common, **_unreadable(library.newest(name), found)}
    return {**common, **_brief(found, context.now_ms)}


def _lacking(library: ModelLog, readers: Mapping[str, list[str]]) -> list[Data]:
    """Return the models that published segments read and that were never published."""
    known = {*library.names()}
    return [{"name": name, "used_by": keys} for name, keys in sorted(readers.items()) if name not in known]


def _version(library: ModelLog, name: str, version: int) -> PublishedModel | str:
    """Return a version of a model, or why it cannot be read."""
    try:
        return library.version(name, version)
    except UNREADABLE as error:
        return str(error)[:_MOST_TEXT]


def _unreadable(version: int, reason: str) -> Data:
    empty = dict.fromkeys(("fitted_ms", "valid_until_ms", "published_ms", "restores", "auc", "ece"))
    return {
        **empty,
        "version": version,
        "kind": "",
        "state": "unreadable",
        "tone": _TONES["unreadable"],
        "reasons": [reason],
        "scores": [],
        "trained": "",
    }


def _brief(found: PublishedModel, now_ms: int) -> Data:
    model = found.model
    state = model.status if not model.is_ready else "stale" if is_stale(model, now_ms) else "ready"
    return {
        "version": model.version,
        "kind": model.kind,
        "state": state,
        "tone": _TONES.get(state, "bad"),
        "reasons": list(model.reasons),
        "fitted_ms": model.fitted_at_ms,
        "valid_until_ms": model.valid_until_ms,
        "published_ms": found.published_ms,
        "restores": found.restores,
        "scores": list(model.scores),
        "trained": ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in _pairs(model.trained_on)),
        "auc": _number(model.quality.get("auc")),
        "ece": _number(model.quality.get("ece")),
    }


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, _text(value)) for name, value in values.items()]


def _text(value: Any) -> str:
    number = _number(value)
    if number is None or isinstance(value, int):
        return f"{value:,}" if number is not None else text_of(value)[:_MOST_TEXT]
    return f"{number:.4g}"


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _users(context: Context[Any], keys: Iterable[str]) -> list[dict[str, Any]]:
    """Return who reads a model, with the address of those that have a page."""
    found = []
    for key in keys:
        definition = context.board.definitions[key]
        is_plain = ":" not in key
        href = f"/segments/{quoted(key)}" if is_plain else ""
        name = f"indicator {definition.name}" if key.startswith(INDICATOR_PREFIX) else definition.name
        found.append({"key": key, "name": name, "href": href})
    return found


# -- one model ---------------------------------------------------------------------------------------------


async def _model(context: Context[Any]) -> Data:
    """Return a version of a model, by default the one in force, and the history of all that are kept."""
    library, name = library_of(context.board), context.arguments["name"]
    versions = library.versions(name)
    if not versions:
        raise NotFound(f"There is no model {name[:100]!r}.")
    version = _asked(context.query.get("version", ""), versions)
    found = _version(library, name, version)
    used_by = readers_of(context.board).get(name, [])
    shown = (
        {**_unreadable(version, found), **_NOTHING}
        if isinstance(found, str)
        else {**_brief(found, context.now_ms), **_details(found.model, context.now_ms)}
    )
    return {
        "as_of_ms": context.board.as_of_ms,
        "name": name,
        "in_force": versions[-1],
        "used_by": _users(context, used_by),
        "history": [_edition(context, library, name, each) for each in reversed(versions)],
        **shown,
        "cli": f"segops models show {name} --version {version}",
        "curl": curl(context, f"/data/models/{quoted(name)}.json"),
    }


def _asked(text: str, versions: list[int]) -> int:
    if not text:
        return versions[-1]
    version = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if version not in versions:
        raise NotFound(f"Version {text[:20]!r} of the model is not kept.")
    return version


def _edition(context: Context[Any], library: ModelLog, name: str, version: int) -> Data:
    found = _version(library, name, version)
    brief = _unreadable(version, found) if isinstance(found, str) else _brief(found, context.now_ms)
    return {
        **brief,
        "href": f"/data/models/{quoted(name)}?version={version}",
        "forced": version == library.newest(name),
    }


_NOTHING: Final[Data] = {
    "doubts": [],
    "trained_on": [],
    "quality": [],
    "curve": None,
    "parameters": [],
    "features": [],
    "forbid": [],
    "file": "",
}


def _details(model: Model, now_ms: int) -> Data:
    form = written(model)
    return {
        "doubts": list(doubts(model, now_ms)),
        "trained_on": [
            {"name": name.replace("_", " "), "value": each} for name, each in _pairs(model.trained_on)
        ],
        "quality": _quality(model.quality),
        "curve": curve_data(model.quality.get("curve")),
        "parameters": _parameters(form),
        "features": _features(model),
        "forbid": list(model.forbid),
        "file": msgspec.json.format(msgspec.json.encode(form), indent=2).decode(),
    }


def _quality(quality: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for name, value in quality.items():
        if name != "curve" and value is not None:
            label, hint = _FIGURES.get(name, (name.replace("_", " "), ""))
            found.append({"name": label, "value": _text(value), "hint": hint})
    return found


def _parameters(form: Mapping[str, Any]) -> list[dict[str, Any]]:
    values = form.get("parameters")
    found = {name: each for name, each in (values or {}).items() if name != "weights"}
    found |= {name: form[name] for name in ("scorer", "calibration", "link", "currency") if name in form}
    return [{"name": name.replace("_", " "), "value": _text(each)} for name, each in found.items()]


def _features(model: Model) -> list[Data]:
    """Return what a model reads of a customer; of weights, the strongest first."""
    of = model.parameters
    if not isinstance(of, (OwnParameters, WeightedParameters, TreesParameters)):
        return []
    weights: Iterable[float | None] = (
        of.weights if isinstance(of, WeightedParameters) else [None] * len(of.inputs)
    )
    found = [
        {"name": each.name, "figure": figure_text(each.figure), "transform": each.transform, "weight": weight}
        for each, weight in zip(of.inputs, weights, strict=True)
    ]
    return sorted(found, key=lambda each: -abs(each["weight"] or 0.0))


def curve_data(curve: Any) -> Data | None:
    """Return a calibration curve as points of a square picture; None if it is no curve.

    >>> found = curve_data([[0.5, 0.25, 40]])
    >>> found["points"][0] | {"r": 0} if found else None
    {'x': 240.0, 'y': 120.0, 'r': 0, 'predicted': 0.5, 'observed': 0.25, 'count': 40}
    """
    try:
        rows = msgspec.convert(curve, list[tuple[float, float, int]])
    except msgspec.ValidationError:
        return None
    rows = [each for each in rows if 0 <= each[0] <= 1 and 0 <= each[1] <= 1 and each[2] > 0]
    if not rows:
        return None
    top = _top(max(max(predicted, observed) for predicted, observed, _ in rows))
    most = max(count for *_, count in rows)
    points = [
        {
            "x": round(_SIZE * predicted / top, 1),
            "y": round(_SIZE - _SIZE * observed / top, 1),
            "r": round(3 + 5 * (count / most) ** 0.5, 1),
            "predicted": predicted,
            "observed": observed,
            "count": count,
        }
        for predicted, observed, count in rows
    ]
    ticks = [{"at": _SIZE * number / _STEPS, "value": top * number / _STEPS} for number in range(_STEPS + 1)]
    return {"size": _SIZE, "top": top, "points": points, "ticks": ticks}


def _top(most: float) -> float:
    """Return the end of an axis of probabilities."""
    return next(each for each in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if each >= most)


PAGES: Final[tuple[Page[Any], ...]] = (
    Page("/data/models", "models.html", "Models", _models),
    Page("/data/models/{name}", "model.html", "Model", _model),
)
ACTIONS: Final[tuple[Action[Any, Any], ...]] = ()
