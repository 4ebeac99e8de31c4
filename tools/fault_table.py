"""Generates the page of faults from the list in `docs/reference/faults.yaml`.

`python tools/fault_table.py` writes `docs/reference/faults.md`; a test compares the two.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import yaml

DOCS = Path(__file__).resolve().parents[1] / "docs" / "reference"
LIST, PAGE = DOCS / "faults.yaml", DOCS / "faults.md"
BEGIN, END = "<!-- faults: written by tools/fault_table.py -->", "<!-- end -->"
ROOMS = {
    "inputs": "What the robot sends",
    "values": "What the messages say",
    "time": "Time",
    "model": "The policy",
    "outputs": "What the robot gets",
    "operator": "The operator",
    "process": "Processes and the machine",
    "services": "Services, parameters, lifecycle",
}
COMMANDS = {
    "policy": "the policy's",
    "bounded": "the policy's, at the bound",
    "stop": "the stop",
    "held": "the last position",
    "none": "none",
    "last": "the stop, once; then none",
}
DECISIONS = {"gone": "the process ends", "unconfigured": "not configured", "paused": "no tick"}


@dataclasses.dataclass(frozen=True)
class FaultRow:
    """One fault: its cause, and what the ROS graph shows then.

    `decision` and `reason` are those of ~/status ("" if it is not published any more). `part`,
    `level` and `says` are those of a status on /diagnostics.
    """

    fault: str
    room: str  # a key of ROOMS
    happens: str
    decision: str = "RUN"
    reason: str = "none"
    command: str = "policy"  # a key of COMMANDS
    part: str = "safety"
    level: str = "OK"
    says: str = ""
    decided_s: float = 0.0  # from the cause to the decision
    recovers: str = ""  # how RUN returns
    recovers_s: float = 0.0  # from `recovers` to RUN


def read_faults() -> dict[str, FaultRow]:
    """Read all rows, by the fault's name, in the file's order."""
    rows = [FaultRow(**row) for row in yaml.safe_load(LIST.read_text("utf-8"))]
    found = {row.fault: row for row in rows}
    assert len(found) == len(rows), "a fault is listed twice"
    return found


FAULTS = read_faults()


def _cells(row: FaultRow) -> tuple[str, ...]:
    decision = DECISIONS.get(row.decision, f"`{row.decision}`")
    if row.reason != "none":
        decision += f" {row.reason}"
    diagnostics = f"{row.part} {row.level}" if row.level else "silent"
    if row.says:
        diagnostics += f": {row.says}"
    within = f"{row.decided_s:g} s" if row.decided_s else ""
    recovery = row.recovers or ("nothing stopped" if row.decision == "RUN" else "")
    if row.recovers_s:
        recovery += f", {row.recovers_s:g} s"
    return (
        f"**{row.fault}**: {row.happens}",
        decision,
        within,
        COMMANDS[row.command],
        diagnostics,
        recovery,
    )


def tables() -> str:
    """Return the page's tables, one for each room."""
    lines = []
    for room, title in ROOMS.items():
        rows = [row for row in FAULTS.values() if row.room == room]
        if rows:
            lines += [f"\n## {title}\n", "| fault | decision | within | command | /diagnostics | "]
            lines[-1] += "recovers, within |"
            lines.append("|---|---|---|---|---|---|")
            lines += ["| " + " | ".join(_cells(row)) + " |" for row in rows]
    return "\n".join(lines) + "\n\n"


def with_tables(text: str) -> str:
    """Return the page with its tables replaced by those of the list."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert rest, f"expected the mark '{BEGIN}' in the page"
    return before + BEGIN + "\n" + tables() + END + after


def main() -> int:
    """Rewrite the page."""
    PAGE.write_text(with_tables(PAGE.read_text("utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
