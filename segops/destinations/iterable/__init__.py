"""Iterable: static lists, user data, and events that begin journeys."""
