"""The card of a policy folder: README.md with origin, contract, statistics and checksums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from policy_runner.core.model import ModelFacts
from policy_runner.export.sources.trained_policy import TrainedPolicy

VERIFIED, OPTIMIZED = "Verification", "Optimization"


def card(
    spec: Mapping[str, Any], policy: TrainedPolicy, model: ModelFacts, how: Mapping[str, Any],
    notes: Sequence[str], files: Mapping[str, str],
) -> str:  # fmt: skip
    """The card's text.

    Args:
        how: versions, opset, IR and batch, by name.
        notes: what a person should know, one sentence each.
        files: sha256 by file name, without the card.
    """
    lines = [f"# {spec['name']}", ""]
    if spec.get("description"):
        lines += [str(spec["description"]), ""]
    lines += ["## Origin", "", *table(("", ""), [(k, v) for k, v in policy.facts.items()])]
    lines += [f"| kind | {cell(policy.kind)} |"]
    lines += [f"| {cell(key)} | {cell(value)} |" for key, value in how.items()]
    lines += ["", "## Contract", ""]
    rows = [("input", str(one), _meaning(spec, one.name)) for one in model.inputs]
    rows += [("output", str(one), _meaning(spec, one.name)) for one in model.outputs]
    lines += table(("", "tensor", "meaning"), rows)
    lines += ["", f"Period: {cell(spec.get('control_dt'))} s. Last action: "
              f"{cell(spec.get('last_action'))}. `policy.yaml` has every term.", ""]  # fmt: skip
    lines += ["## Normalization", ""]
    lines += [f"- `{one.name}`: {_normalization(spec, one.name)}" for one in policy.inputs]
    lines += [""]
    if notes:
        lines += ["## Look at", "", *(f"- {cell(one)}" for one in notes), ""]
    lines += [f"## {VERIFIED}", "", "Not run yet: `policy-runner verify` compares the folder with"
              " its source.", "", "## Checksums", ""]  # fmt: skip
    lines += table(("file", "sha256"), [(f"`{name}`", digest) for name, digest in files.items()])
    return "\n".join(lines) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(cell(one) for one in row) + " |" for row in rows]


def cell(value: object) -> str:
    """Text of one table cell: one line, no bars."""
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return text.replace("|", "\\|")


def _meaning(spec: Mapping[str, Any], name: str) -> str:
    for tensor in spec.get("observation", []):
        if tensor.get("tensor") == name:
            given = tensor.get("terms") or ([tensor["whole"]] if tensor.get("whole") else [])
            if isinstance(given, str):
                return given
            return ", ".join(str(one.get("name") or one.get("term")) for one in given)
    for tensor in spec.get("action", []) if isinstance(spec.get("action"), list) else []:
        if tensor.get("tensor") == name:
            groups = [one for one in tensor.get("groups", []) if isinstance(one, dict)]
            return "; ".join(_group(one) for one in groups)
    for state in spec.get("state", []):
        if name in (state.get("input"), state.get("output")):
            return "recurrent state"
    return "commands nothing"


def _group(group: Mapping[str, Any]) -> str:
    names = group.get("joints") or group.get("axes") or group.get("elements") or []
    text = names if isinstance(names, str) else ", ".join(map(str, names))
    return f"{group.get('kind')} of {text}"


def _normalization(spec: Mapping[str, Any], name: str) -> str:
    for tensor in spec.get("observation", []):
        if tensor.get("tensor") == name:
            given = tensor.get("normalization")
            if given == "in_model":
                return "inside the graph"
            if isinstance(given, Mapping):
                return f"outside, formula `{given.get('preset')}`, `{given.get('statistics')}`"
            return str(given or "none")
    return "none"


def with_section(text: str, title: str, lines: Sequence[str]) -> str:
    """The card with the section `title` replaced, or added before the checksums."""
    found: list[str] = []
    inside = False
    written = False
    for line in text.splitlines():
        if line.startswith("## "):
            inside = line == f"## {title}"
            if inside or (line == "## Checksums" and not written):
                found += [f"## {title}", "", *lines, ""]
                written = True
        if not inside:
            found.append(line)
    if not written:
        found += ["", f"## {title}", "", *lines]
    return "\n".join(found) + "\n"
