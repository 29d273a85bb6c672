"""The profiles of all partitions: how many are known, active, new, returning and dormant."""

from __future__ import annotations

from collections.abc import Mapping

from segops.analytics.views import AsOf, PopulationView
from segops.schemas.sizes import PopulationFigures


def population_view(reports: Mapping[int, PopulationFigures], partitions: int, as_of: AsOf) -> PopulationView:
    """Return the sums over the reports of at least one partition.

    They are complete once all partitions have reported figures of the same day.
    """
    found = list(reports.values())
    monthly, daily = sum(each.monthly for each in found), sum(each.daily for each in found)
    days = {each.day_ms for each in found}
    return PopulationView(
        as_of=as_of,
        complete=len(found) == partitions and len(days) == 1,
        reported=len(found),
        partitions=partitions,
        day_ms=max(days),
        known=sum(each.known for each in found),
        daily=daily,
        weekly=sum(each.weekly for each in found),
        monthly=monthly,
        stickiness=round(daily / monthly, 4) if monthly else None,
        new=sum(each.new for each in found),
        returning=sum(each.returning for each in found),
        resurrected=sum(each.resurrected for each in found),
        dormant=sum(each.dormant for each in found),
    )
