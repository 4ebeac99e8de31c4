"""`policy-runner schema`: prints the JSON Schema of policy.yaml, for completion in editors."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from policy_runner.core.spec import json_schema


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add -o."""
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write it there instead of printing it"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print or write the schema."""
    text = schema_text()
    if arguments.output is None:
        print(text, end="")
    else:
        arguments.output.write_text(text, encoding="utf-8")
    return 0


def schema_text() -> str:
    """Return the schema as text."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
