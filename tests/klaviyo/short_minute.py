"""``python -m tests.klaviyo.short_minute``: ``segops`` as if the minute of Klaviyo's limits lasted a second.

The minute is Klaviyo's, so no setting changes it. The stand-in must count in the same ``MINUTE_S``.
"""

from __future__ import annotations

from segops import request_rates
from segops.cli import main
from segops.klaviyo import pull

MINUTE_S = 1.0

if __name__ == "__main__":
    pull.COOL_DOWN_S = request_rates.COOL_DOWN_S = MINUTE_S * 1.01  # type: ignore[attr-defined,misc]
    main()
