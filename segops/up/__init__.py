"""``segops up``: the whole system on one machine, from one data folder."""
