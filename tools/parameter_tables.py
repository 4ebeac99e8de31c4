"""The tables of docs/reference/parameters.md, from the rows that the nodes declare.

`python tools/parameter_tables.py` rewrites them; a test compares.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from policy_runner.core.spec import Input
from policy_runner.robot.parameters.parameter import Parameter
from policy_runner.robot.parameters.policy import input_rows, joint_rows
from policy_runner.robot.parameters.runner import TABLE
from policy_runner.ros.sidecar.parameters import PARAMETERS as SIDECAR
from policy_runner.ros.simulated_robot.parameters import PARAMETERS as ROBOT

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "parameters.md"


def markdown(table: Sequence[Parameter]) -> str:
    """Parameters as a Markdown table."""
    lines = [
        "| parameter | type | default | range | live | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for row in table:
        if row.choices:
            span = ", ".join(f"`{c}`" for c in row.choices)
        elif row.low is None and row.high is None:
            span = row.unit
        else:
            low, high = ("" if end is None else f"{end:g}" for end in (row.low, row.high))
            ends = f"{low} to {high}" if low and high else f"from {low}" if low else f"to {high}"
            span = f"{ends} {row.unit}".rstrip()
        default = "not set" if row.default is None else f"`{_yaml(row.default)}`"
        live = "yes" if row.live else ""
        cells = (f"`{row.name}`", row.kind, default, span, live, row.description)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple) and value and isinstance(value[0], str):
        return f"[{', '.join(value)}]"
    return '""' if value == "" else "[]" if value == () else str(value)


def tables() -> dict[str, str]:
    """Markdown tables by the name that marks their place in the page."""
    anything = Input.model_construct(type="the policy spec's", topic="")
    return {
        "policy_runner": markdown(TABLE),
        "policy_runner inputs": markdown(input_rows("<input>", anything)),
        "policy_runner joints": markdown(joint_rows("<joint>", "position")),
        "jetson_diagnostics": markdown(SIDECAR),
        "simulated_robot": markdown(ROBOT),
    }


def with_tables(text: str) -> str:
    """Return the document with every marked table replaced by the present one.

    Raises:
        ValueError: a table has no mark in the document.
    """
    for name, table in tables().items():
        begin, end = f"<!-- parameters of {name} -->", "<!-- end -->"
        pattern = re.compile(re.escape(begin) + r"\n.*?" + re.escape(end), re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"expected the mark '{begin}' in the document, got none")
        block = f"{begin}\n{table}{end}".replace("\\", r"\\")
        text = pattern.sub(block, text)
    return text


def main() -> int:
    """Rewrite the tables of the page."""
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
