"""Segment, and every server that takes its calls."""
