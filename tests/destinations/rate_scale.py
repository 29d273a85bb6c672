"""Rate limits of services in less time: the seconds of the limiter and of a stand-in are shortened alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from segops import request_rates

#: How long a second of a service lasts.
SECOND_S = 0.01


@pytest.fixture(autouse=True, scope="module")
def short_seconds() -> Iterator[None]:
    """Shorten the windows of limiters: every request still occupies its slot for one of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request_rates, "_SECOND_S", SECOND_S)
        patch.setattr(request_rates, "COOL_DOWN_S", 60 * SECOND_S * request_rates._MARGIN)
        yield
