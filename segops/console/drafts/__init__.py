"""Drafts of segments: what a person edits before it is published.

A draft is the text of a segment file, or a part of one. ``reading`` makes it a document, ``checking`` finds
its mistakes and says what it means, ``estimating`` counts whom it would hold, ``publishing`` publishes it
unless the segment was changed since the person saw it.
"""
