"""Klaviyo: members of lists, and events of metrics."""
