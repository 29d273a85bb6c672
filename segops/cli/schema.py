"""``segops schema``: the JSON Schema of a segment file, or of a model file."""

from __future__ import annotations

import json

import click

from segops.cli._say import say_text
from segops.schemas.json_schema import json_schema
from segops.schemas.json_schema_models import model_schema

_EPILOG = """
\b
Example:
  segops schema > segops.schema.json
An editor with a YAML language server then completes and checks a file that begins with
  # yaml-language-server: $schema=segops.schema.json
"""


@click.command(epilog=_EPILOG)
@click.option("--model", is_flag=True, help="Print the schema of a model file instead.")
def command(model: bool) -> None:
    """Print the JSON Schema (draft 2020-12) of segment files, for completion and checks in editors.

    `segops check` rejects everything that the schema rejects, and more, such as cycles.
    """
    say_text(json.dumps(model_schema() if model else json_schema(), indent=2, ensure_ascii=False))
