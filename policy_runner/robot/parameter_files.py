"""Reads a process's parameters from sections of YAML files and from `-p` arguments.

rclpy ignores undeclared keys and sections that match no node. The code here finds misspelled keys
and files that were written for another node name. A `/**` section may contain keys of other nodes,
so an unknown key there only gives a warning.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from policy_runner.core.errors import Problem, Refusal, collect, did_you_mean
from policy_runner.robot.parameter_yaml import (
    Section,
    argument_value,
    read_parameter_file,
    section_fits,
)

# Declared or read by rclpy itself.
_RCLPY = ("use_sim_time", "start_type_description_service")
_RCLPY_PREFIXES = ("qos_overrides.",)
_FOR_ALL = "/**"  # where rcl puts `-p name:=value`
_TYPICAL_NAME = "policy_runner"


def parameter_files(arguments: Sequence[str]) -> list[Path]:
    """Return the parameter files in the `--ros-args` of a command line, in order."""
    return [Path(word) for kind, word in _ros_words(arguments) if kind == "--params-file"]


def file_problems(arguments: Sequence[str]) -> list[Problem | str]:
    """Return the problems of a command line's parameter files, at most one for each file."""
    problems: list[Problem | str] = []
    for path in parameter_files(arguments):
        with collect(problems):
            read_parameter_file(path)
    return problems


def parameter_sections(arguments: Sequence[str]) -> Iterator[Section]:
    """Yield every section in the `--ros-args` of a command line, in order.

    An unreadable file gives no section: `file_problems` reports it. `-p` gives a section without a
    file. It applies to all nodes of the process, unless it names a node.
    """
    for kind, word in _ros_words(arguments):
        if kind == "--params-file":
            with contextlib.suppress(Refusal):
                yield from read_parameter_file(Path(word))
        elif kind in ("-p", "--param"):
            name, _, text = word.partition(":=")
            node, _, key = name.rpartition(":")
            with contextlib.suppress(ValueError):
                value = argument_value(text)
                yield Section(f"/{node.lstrip('/')}" if node else _FOR_ALL, {key: value})


def _ros_words(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each option between `--ros-args` and `--`, with the word after it."""
    inside = False
    before = ""
    for word in arguments:
        if word in ("--ros-args", "--"):
            inside, before = word == "--ros-args", ""
        elif inside and before.startswith("-"):
            yield before, word
            before = ""
        else:
            before = word


def node_name(arguments: Sequence[str], default: str) -> str:
    """Return a node's fully qualified name, after the remapping of the arguments.

    Args:
        arguments: command line of the process.
        default: the node's own name, without namespace.
    """
    found = {"__node": default, "__name": "", "__ns": "/"}
    given: set[str] = set()
    for kind, word in _ros_words(arguments):
        rule, _, to = word.partition(":=")
        node, _, key = rule.rpartition(":")
        # The first matching rule counts.
        if kind in ("-r", "--remap") and key in found and node in ("", default):
            key = "__node" if key == "__name" else key
            if key not in given:
                found[key] = to
                given.add(key)
    return f"/{found['__ns'].strip('/')}/{found['__node']}".replace("//", "/")


def is_wildcard(section: str) -> bool:
    """Return whether a section applies to nodes of any name."""
    return section.rsplit("/", 1)[-1] in ("*", "**")


def early_value(arguments: Sequence[str], node: str, key: str, default: Any) -> Any:
    """Return the value that a parameter will have, before the node exists.

    Args:
        arguments: command line of the process, which may remap the node's name.
        node: the node's own name.
        key: the parameter's name.
        default: the value if no section sets it.
    """
    full = node_name(arguments, node)
    # Like rcl: merge sections of the same name, at the place of the first one.
    merged: dict[str, dict[str, Any]] = {}
    for section in parameter_sections(arguments):
        merged.setdefault(section.name, {}).update(section.keys)
    value = default
    for name, keys in merged.items():
        if key in keys and section_fits(name, full):
            value = keys[key]
    return value


def section_problems(
    arguments: Sequence[str], node: str, overrides: Collection[str] | None = None, remedy: str = ""
) -> list[Problem | str]:
    """Find parameter files that were meant for this node but do not reach it.

    If no section of any file matches the node, these are all files. Otherwise a file is reported
    if none of its sections matches, but one has this node's name in another namespace, or the
    name `policy_runner`.

    Args:
        arguments: command line of the process; it names the files.
        node: fully qualified node name.
        overrides: names of the parameters that ROS gives to the node; None: unknown.
        remedy: another remedy, added to the problems.
    """
    found: dict[Path, list[Section]] = {}
    for path in parameter_files(arguments):
        with contextlib.suppress(Refusal):
            found[path] = read_parameter_file(path)
    name = node.rpartition("/")[2]
    reached = any(section_fits(s.name, node) for sections in found.values() for s in sections)
    problems: list[Problem | str] = []
    for path, sections in found.items():
        fitting = [section for section in sections if section_fits(section.name, node)]
        names = [section.name for section in sections]
        meant = any(one.rpartition("/")[2] in (name, _TYPICAL_NAME) for one in names)
        if not fitting and (meant or not reached):
            expected = f"a section for the node {node}, such as {node}: or /**/{name}:"
            got = ", ".join(names) or "no section"
            problems.append(Problem(str(path), "", expected, got, remedy))
        for section in fitting:
            if overrides is not None and not set(section.keys) <= set(overrides):
                expected = "a section that this ROS distribution gives to the node"
                remedy_here = f"write {node}: in its place"
                problems.append(Problem(str(path), "", expected, section.name, remedy_here))
    return problems


def unknown_keys(
    overrides: Collection[str], known: Collection[str], arguments: Sequence[str], node: str
) -> tuple[list[str], list[str]]:
    """Describe the overrides that are not declared.

    Args:
        overrides: names of the parameters that ROS gives to the node.
        known: names of the declared parameters.
        arguments: command line of the process.
        node: fully qualified node name.

    Returns:
        The sentences to refuse, and the sentences that are only warnings.
    """
    tolerated: set[str] = set()
    ours: set[str] = set()
    for section in parameter_sections(arguments):
        if section_fits(section.name, node):
            shared = is_wildcard(section.name) and section.file
            (tolerated if shared else ours).update(section.keys)
    refused, warned = [], []
    for key in overrides:
        if key in known or key in _RCLPY or key.startswith(_RCLPY_PREFIXES):
            continue
        text = unknown_name(key, known)
        if key in tolerated and key not in ours:
            warned.append(f"{text} (given under /**, so it is only ignored)")
        else:
            refused.append(text)
    return refused, warned


def unknown_name(key: str, known: Collection[str]) -> str:
    """Return the sentence that refuses an unknown parameter, with the nearest known name."""
    text = f"parameter {key}: expected a parameter of this node, got an unknown name"
    hint = did_you_mean(key, known)
    return f"{text}; {hint}" if hint else text
