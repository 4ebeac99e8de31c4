"""The tables of docs/reference/robot_file.md, from the models that read `robot.yaml`.

`python tools/robot_tables.py` rewrites them; a test compares.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spec_tables import kind_of

from policy_runner.sim.robot_file.robot_keys import robot_schema

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "robot_file.md"
_MARK = re.compile(r"<!-- keys of (\w+) -->\n.*?<!-- end -->", re.DOTALL)
# Keys whose value is one of several models, told apart by a key of theirs.
_CHOICES = {
    "sensors": "{topic: a [sensor](#sensors)}",
    "twist": "a [twist drive](#twist-drives)",
}


def robot_keys_table(name: str) -> str:
    """Return the Markdown table of one model's keys: key, value, default, meaning.

    Args:
        name: of a model in the schema, or RobotSpec.

    Raises:
        KeyError: there is no such model.
    """
    schema = robot_schema()
    models = dict(schema["$defs"], RobotSpec=schema)
    model = models[name]
    required = model.get("required", [])
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for key, given in model["properties"].items():
        meaning = given.get("description", "which kind")
        default = "needed" if key in required else _default(given)
        meaning, _, said = meaning.partition("; default: ")
        if said:
            default = said
        kind = _CHOICES.get(key) or kind_of(given, models)
        cells = (f"`{key}`", kind, default, meaning)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _default(given: Mapping[str, Any]) -> str:
    value = given.get("default")
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value is None or isinstance(value, (dict, list)):
        return "none"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def with_robot_tables(text: str) -> str:
    """Return the document with every marked table replaced by the present one."""
    return _MARK.sub(
        lambda m: f"<!-- keys of {m[1]} -->\n{robot_keys_table(m[1])}<!-- end -->", text
    )


def main() -> int:
    """Rewrite the tables of the page."""
    PAGE.write_text(with_robot_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
