"""Braze: attributes of users, and events."""
