"""What diagnostic_aggregator does with its parameters: types, rules, names.

The facts are those of ros/diagnostics, branches ros2, ros2-jazzy and stale/humble, read on
2026-11-27: `aggregator.cpp`, `analyzer_group.cpp`, `generic_analyzer.cpp`, `status_item.hpp`.
A value of another type makes rclcpp throw, which ends the aggregator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# Key -> Python type that rcl must give; a list: an array of that type.
TOP_LEVEL: dict[str, Any] = {
    "pub_rate": float,
    "path": str,
    "other_as_errors": bool,
    "history_depth": int,
    "critical": bool,
}
GROUP: dict[str, Any] = {"type": str, "path": str}
GENERIC: dict[str, Any] = {
    "type": str,
    "path": str,
    "find_and_remove_prefix": [str],
    "remove_prefix": [str],
    "startswith": [str],
    "contains": [str],
    "expected": [str],
    "regex": [str],
    "timeout": float,
    "num_items": int,
    "discard_stale": bool,
}
PLUGIN = "diagnostic_aggregator/"


@dataclass
class Rule:
    """One GenericAnalyzer: its place in the tree and its keys."""

    place: tuple[str, ...]
    keys: dict[str, Any] = field(default_factory=dict)

    def matches(self, name: str) -> bool:
        """Return whether the analyzer takes a status of this name."""
        prefixes = [*self.keys.get("startswith", ()), *self.keys.get("find_and_remove_prefix", ())]
        return (
            any(name.startswith(prefix) for prefix in prefixes)
            or any(word in name for word in self.keys.get("contains", ()))
            or name in self.keys.get("expected", ())
        )

    def shown(self, name: str) -> str:
        """Return the name that the tree shows: without prefix, "/" replaced by a space."""
        output = name.replace("/", " ")
        chaff = self.keys.get("remove_prefix", self.keys.get("find_and_remove_prefix", ()))
        for prefix in (one.replace("/", " ") for one in chaff):
            if output.startswith(prefix):
                return output[len(prefix) :]
        return output


def wrong_types(parameters: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each key that the aggregator does not read, or reads as another type.

    Args:
        parameters: flat, as rcl gives them: "policy.analyzers.runner.timeout" -> 5.0.
    """
    found = []
    for key, value in parameters.items():
        words = key.split(".")
        if len(words) == 1:
            known = TOP_LEVEL
        else:
            plugin = parameters.get(".".join([*words[:-1], "type"]), "")
            known = GENERIC if plugin == f"{PLUGIN}GenericAnalyzer" else GROUP
            if plugin not in (f"{PLUGIN}GenericAnalyzer", f"{PLUGIN}AnalyzerGroup"):
                found.append(f"{key}: no analyzer of this type: {plugin!r}")
            # analyzer_group.cpp: the top level has groups, a group has `analyzers`.
            if len(words) not in (2, 4) or (len(words) == 4 and words[1] != "analyzers"):
                found.append(f"{key}: not where an AnalyzerGroup looks")
        expected = known.get(words[-1])
        if expected is None:
            found.append(f"{key}: the analyzer does not read it")
        elif isinstance(expected, list):
            if type(value) is not list or not value or any(type(v) is not str for v in value):
                found.append(f"{key}: expected a list of strings, got {value!r}")
        elif type(value) is not expected:
            found.append(f"{key}: expected {expected.__name__}, got {value!r}")
    return found


def rules(parameters: Mapping[str, Any]) -> Iterator[Rule]:
    """Yield the analyzers, with their place in the tree."""
    found: dict[str, Rule] = {}
    for key, value in parameters.items():
        words = key.split(".")
        if len(words) == 4:
            group, name = words[0], ".".join(words[:3])
            place = (parameters[f"{group}.path"], parameters[f"{name}.path"])
            found.setdefault(name, Rule(place)).keys[words[3]] = value
    yield from found.values()
