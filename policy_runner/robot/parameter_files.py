"""Where a process's parameters come from: sections of YAML files and `-p` arguments.

rclpy ignores keys that nobody declares; here a key of our own that is misspelt is found.
A `/**` section legally carries other nodes' keys, so there an unknown key only warns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from policy_runner.core.errors import did_you_mean

# Declared or read by rclpy itself.
_RCLPY = ("use_sim_time", "start_type_description_service")
_RCLPY_PREFIXES = ("qos_overrides.",)


def parameter_sections(arguments: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every (section, flat keys) that the `--ros-args` of a command line bring, in order.

    A file that cannot be read gives nothing: rcl itself reports it when it starts.
    """
    words = iter(arguments)
    inside = False
    for word in words:
        if word == "--ros-args":
            inside = True
        elif word == "--":
            inside = False
        elif inside and word == "--params-file":
            yield from _file_sections(Path(next(words, "")))
        elif inside and word in ("-p", "--param"):
            name, _, text = next(words, "").partition(":=")
            # `node:name:=value` names its node; without one it is for every node of the process.
            node, _, key = name.rpartition(":")
            try:
                yield node or "-p", {key: yaml.safe_load(text)}
            except yaml.YAMLError:
                continue


def _file_sections(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return
    if isinstance(content, Mapping):
        yield from _sections("", content)


def _sections(prefix: str, content: Mapping[Any, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, below in content.items():
        if not isinstance(below, Mapping):
            continue
        if name == "ros__parameters":
            yield prefix, dict(_flat("", below))
        else:
            yield from _sections(f"{prefix}/{str(name).strip('/')}", below)


def _flat(prefix: str, content: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", value


def is_wildcard(section: str) -> bool:
    """Whether a section speaks to nodes of any name."""
    return section.rsplit("/", 1)[-1] in ("*", "**")


def early_value(arguments: Sequence[str], node_name: str, key: str, default: Any) -> Any:
    """What a parameter will be, before there is a node: the last section that fits wins."""
    value = default
    for section, keys in parameter_sections(arguments):
        last = section.rsplit("/", 1)[-1]
        if key in keys and (last in ("-p", node_name) or is_wildcard(section)):
            value = keys[key]
    return value


def unknown_keys(
    overrides: Collection[str], known: Collection[str], arguments: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Sentences about overrides that nobody declares: (to refuse, only to warn about)."""
    tolerated: set[str] = set()
    ours: set[str] = set()
    for section, keys in parameter_sections(arguments):
        (tolerated if is_wildcard(section) else ours).update(keys)
    refused, warned = [], []
    for key in overrides:
        if key in known or key in _RCLPY or key.startswith(_RCLPY_PREFIXES):
            continue
        text = f"parameter {key}: expected a parameter of this node, got an unknown name"
        hint = did_you_mean(key, known)
        text = f"{text}; {hint}" if hint else text
        if key in tolerated and key not in ours:
            warned.append(f"{text} (given under /**, so it is only ignored)")
        else:
            refused.append(text)
    return refused, warned
