"""Where a process's parameters come from: sections of YAML files and `-p` arguments.

rclpy ignores keys that are not declared, and sections that fit no node; here a misspelt key of our
own is found, and so is a file that was written for a node of another name.
A `/**` section legally carries other nodes' keys, so there an unknown key only warns.
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
    """The parameter files that the `--ros-args` of a command line name, in order."""
    return [Path(word) for kind, word in _ros_words(arguments) if kind == "--params-file"]


def file_problems(arguments: Sequence[str]) -> list[Problem | str]:
    """What is wrong with the parameter files that a command line names: one each at most."""
    problems: list[Problem | str] = []
    for path in parameter_files(arguments):
        with collect(problems):
            read_parameter_file(path)
    return problems


def parameter_sections(arguments: Sequence[str]) -> Iterator[Section]:
    """Every section that the `--ros-args` of a command line bring, in order.

    A file that cannot be read gives nothing: `file_problems` reports it. `-p` gives a section
    without a file, for all nodes of the process unless it names one.
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
    """Each option between `--ros-args` and `--` with the word after it."""
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
    """The fully qualified name that a node gets: its own, unless the arguments remap it.

    Args:
        arguments: of the process.
        default: the node's own name, without namespace.
    """
    found = {"__node": default, "__name": "", "__ns": "/"}
    given: set[str] = set()
    for kind, word in _ros_words(arguments):
        rule, _, to = word.partition(":=")
        node, _, key = rule.rpartition(":")
        # The first rule that fits counts.
        if kind in ("-r", "--remap") and key in found and node in ("", default):
            key = "__node" if key == "__name" else key
            if key not in given:
                found[key] = to
                given.add(key)
    return f"/{found['__ns'].strip('/')}/{found['__node']}".replace("//", "/")


def is_wildcard(section: str) -> bool:
    """Whether a section speaks to nodes of any name."""
    return section.rsplit("/", 1)[-1] in ("*", "**")


def early_value(arguments: Sequence[str], node: str, key: str, default: Any) -> Any:
    """What a parameter will be, before there is a node.

    Args:
        arguments: of the process.
        node: the node's own name; remapping is looked up in the arguments.
        key: the parameter's name.
        default: the value where nothing sets it.
    """
    full = node_name(arguments, node)
    # As rcl does: sections of one name are one, at the place of the first.
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
    """Files that were meant for this node, and do not reach it.

    These are all files where no section of any of them fits; else a file without one that fits,
    whose sections have this node's name in another namespace, or the name `policy_runner`.

    Args:
        arguments: of the process, where the files are named.
        node: the fully qualified name.
        overrides: names of the parameters that ROS gives to the node; None: unknown.
        remedy: what else may help.
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
    """Sentences about overrides that are not declared: (to refuse, only to warn about).

    Args:
        overrides: names of the parameters that ROS gives to the node.
        known: names of the declared ones.
        arguments: of the process.
        node: the fully qualified name.
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
        text = f"parameter {key}: expected a parameter of this node, got an unknown name"
        hint = did_you_mean(key, known)
        text = f"{text}; {hint}" if hint else text
        if key in tolerated and key not in ours:
            warned.append(f"{text} (given under /**, so it is only ignored)")
        else:
            refused.append(text)
    return refused, warned
