"""`policy-runner schema`: prints the JSON Schema of policy.yaml or robot.yaml, for editors."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from policy_runner.core.spec import json_schema
from policy_runner.sim.robot_file.robot_keys import robot_schema


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --robot and -o."""
    parser.add_argument("--robot", action="store_true", help="the schema of robot.yaml instead")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write it there instead of printing it"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print or write the schema."""
    text = schema_text(robot_schema() if arguments.robot else json_schema())
    if arguments.output is None:
        print(text, end="")
    else:
        arguments.output.write_text(text, encoding="utf-8")
    return 0


def schema_text(schema: dict[str, Any]) -> str:
    """Return a schema as text."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
