"""One evaluation of one profile: its cause, its instant and its result."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from segops.core.events import Change, IndicatorValue, change_id
from segops.core.features import Counted
from segops.core.indicators import INDICATOR_PREFIX, Indicator
from segops.core.profile import Profile
from segops.core.step import StepResult


class Evaluation(msgspec.Struct, gc=False):
    """One evaluation of one profile: its cause, its instant and its result."""

    profile: Profile
    reason: str
    now_ms: int
    event_id: str | None = None
    result: StepResult = msgspec.field(default_factory=StepResult)
    counted: Counted | None = None  #: records what the event adds to accumulators
    merged_into: str | None = None


def change_of(
    evaluation: Evaluation, key: str, version: int, *, member: bool, flips_at: int | None
) -> Change:
    """Return the next membership change of a profile."""
    profile = evaluation.profile
    profile.sequence += 1
    return Change(
        profile_id=profile.id,
        segment_key=key,
        segment_version=version,
        action="entered" if member else "exited",
        member=member,
        reason=evaluation.reason,
        occurred_at=evaluation.now_ms,
        evaluated_at=0,
        sequence=profile.sequence,
        change_id=change_id(profile.id, key, profile.sequence),
        event_id=evaluation.event_id,
        flips_at=flips_at,
        user_id=profile.user_id,
        anonymous_id=profile.anonymous_id,
        email=profile.email,
        traits_json=msgspec.json.encode(profile.traits, order="sorted").decode(),
        merged_into=evaluation.merged_into,
    )


def publish_indicators(evaluation: Evaluation, indicators: Iterable[Indicator]) -> None:
    """Evaluate indicators in order; add the values that are to be published to the result."""
    profile, now_ms = evaluation.profile, evaluation.now_ms
    for indicator in indicators:
        try:
            publish = indicator.evaluate(profile, now_ms)
        except Exception:  # an indicator that fails keeps what was published, and is counted
            evaluation.result.add_failure(indicator.key)
            profile.flips.pop(indicator.key, None)
            continue
        if publish:
            _add_published(evaluation, indicator)


def publish_again(evaluation: Evaluation, indicators: Iterable[Indicator]) -> None:
    """Add what was published last of each indicator to the result, also that a value is missing."""
    for indicator in indicators:
        _add_published(evaluation, indicator)


def _add_published(evaluation: Evaluation, indicator: Indicator) -> None:
    last = evaluation.profile.published.get(indicator.key)
    value = None if last is None else last.value
    evaluation.result.add_value(_value_of(evaluation, indicator.key, indicator.version, value))


def withdraw_indicators(evaluation: Evaluation, keys: Iterable[str]) -> None:
    """Forget what was published of some indicators; add to the result that their values are missing."""
    profile = evaluation.profile
    for key in sorted(keys):
        last = profile.published.pop(key)
        profile.flips.pop(key, None)
        if last.value is not None:
            evaluation.result.add_value(_value_of(evaluation, key, last.version, None))


def _value_of(evaluation: Evaluation, key: str, version: int, value: Any) -> IndicatorValue:
    profile = evaluation.profile
    return IndicatorValue(
        profile_id=profile.id,
        indicator=key.removeprefix(INDICATOR_PREFIX),
        indicator_version=version,
        value=value,
        reason=evaluation.reason,
        occurred_at=evaluation.now_ms,
        event_id=evaluation.event_id,
        user_id=profile.user_id,
        anonymous_id=profile.anonymous_id,
        email=profile.email,
    )
