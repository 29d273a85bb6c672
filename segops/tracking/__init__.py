"""Tracking plans: what the events of a source may look like, and what breaks that."""
