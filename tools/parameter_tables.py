"""Writes the README's parameter tables from the tables that the nodes declare.

`python tools/parameter_tables.py README.md` rewrites them; a test compares the two.
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


def markdown(table: Sequence[Parameter]) -> str:
    """Return the Markdown table of these parameters."""
    lines = [
        "| parameter | type | default | range | unit | live | meaning |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in table:
        if row.choices:
            span = ", ".join(f"`{c}`" for c in row.choices)
        elif row.low is None and row.high is None:
            span = ""
        else:
            ends = ("" if end is None else f"{end:g}" for end in (row.low, row.high))
            span = " to ".join(ends)
        default = "not set" if row.default is None else f"`{_yaml(row.default)}`"
        live = "yes" if row.live else ""
        cells = (f"`{row.name}`", row.kind, default, span, row.unit, live, row.description)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple) and value and isinstance(value[0], str):
        return f"[{', '.join(value)}]"
    return '""' if value == "" else str(value)


def tables() -> dict[str, str]:
    """Return Markdown tables by the name that marks their place in the README."""
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


def main(paths: list[str]) -> int:
    """Rewrite the tables of these documents."""
    for path in map(Path, paths):
        path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
