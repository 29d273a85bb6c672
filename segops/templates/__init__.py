"""Templates of segments: ready-made rules with parameters, as data of this package.

A template becomes a segment file, which a person reads, edits and publishes; nothing here publishes.
"""

from segops.templates.library import Parameter, Template, load_template, load_templates
from segops.templates.writing import definition_of, segment_file, values_of

__all__ = [
    "Parameter",
    "Template",
    "definition_of",
    "load_template",
    "load_templates",
    "segment_file",
    "values_of",
]
