"""bucket: shares of all profiles."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.segments import SegmentSet
from segops.core.values import share_of
from segops.testing import Customer, segments

from .helpers import MONDAY, issues_of

T = MONDAY


def test_bucket_holds_its_share_and_buckets_do_not_overlap() -> None:
    low, rest = ({"bucket": {"salt": "s", "from": a, "to": b}} for a, b in ((0, 12.5), (12.5, 100)))
    both: SegmentSet = segments(low=low, rest=rest)
    found = [share_of("s", f"user_id:u{n}") for n in range(4_000)]
    assert 400 < sum(share < 1_250 for share in found) < 600
    customer = Customer(low=low, rest=rest)
    customer.did("page", T)
    assert len(customer.member_of) == 1
    assert {segment.key for segment in both.segments} == {"low", "rest"}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"bucket": {"salt": "s", "from": 10, "to": 10}}, "when.bucket: never holds: from is not below to"),
        ({"bucket": {"salt": "s", "from": 0, "to": 10.005}}, "when.bucket.to: expected at most two decimals"),
    ],
)
def test_invalid_bucket_is_rejected_with_the_reason(rule: dict[str, Any], message: str) -> None:
    found = issues_of(rule)
    assert any(issue.startswith(f"f: {message}") for issue in found), found
