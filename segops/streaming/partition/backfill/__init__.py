"""The backfill of one partition: history is collected beside the profiles, moved, and folded into them."""
