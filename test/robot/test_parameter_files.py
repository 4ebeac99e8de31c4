"""Sources of parameters: sections of files, `-p`, and keys that are not declared."""

from __future__ import annotations

from pathlib import Path

import pytest

from policy_runner.robot.parameter_files import (
    early_value,
    file_problems,
    is_wildcard,
    node_name,
    parameter_sections,
    section_problems,
    unknown_keys,
)

NAME = "policy_runner"
FILE = """
/**:
  ros__parameters:
    rate: 1.0
/**/policy_runner:
  ros__parameters:
    rate: 2.0
    inputs:
      imu: {max_age: 0.1, on_stale: hold}
policy_runner:
  ros__parameters: {backend: auto}
/ns/policy_runner:
  ros__parameters: {dry_run: true}
/ns:
  other_node:
    ros__parameters: {rate: 9.0, list: []}
"""


def arguments(tmp_path: Path, text: str, *more: str) -> list[str]:
    file = tmp_path / "parameters.yaml"
    file.write_text(text, encoding="utf-8")
    return ["program", "--ros-args", "--params-file", str(file), *more]


def other(tmp_path: Path, name: str, text: str) -> list[str]:
    file = tmp_path / f"{name}.yaml"
    file.write_text(text, encoding="utf-8")
    return ["--params-file", str(file)]


def test_every_section_with_its_flat_keys(tmp_path: Path) -> None:
    words = arguments(
        tmp_path, FILE, "-p", "rate:=3.0", "--param", "policy_runner:limits.a:=[1, 2]", "-r", "a:=b"
    )
    found = [(section.name, section.keys) for section in parameter_sections(words)]
    assert found == [
        ("/**", {"rate": 1.0}),
        (
            "/**/policy_runner",
            {"rate": 2.0, "inputs.imu.max_age": 0.1, "inputs.imu.on_stale": "hold"},
        ),
        ("/policy_runner", {"backend": "auto"}),
        ("/ns/policy_runner", {"dry_run": True}),
        ("/ns/other_node", {"rate": 9.0, "list": []}),
        ("/**", {"rate": 3.0}),
        ("/policy_runner", {"limits.a": [1, 2]}),
    ]
    assert [is_wildcard(section) for section, _ in found[:5]] == [True, False, False, False, False]


def test_words_outside_ros_args_are_not_ours(tmp_path: Path) -> None:
    words = ["program", "-p", "rate:=1.0", "--ros-args", "-p", "a:=1", "--", "-p", "b:=2"]
    assert [section.keys for section in parameter_sections(words)] == [{"a": 1}]


@pytest.mark.parametrize("text", ["", "a: [", "- 1", "a: 1", "\x00", "/**: {ros__parameters: 3}"])
def test_a_file_that_says_nothing_gives_nothing(tmp_path: Path, text: str) -> None:
    assert list(parameter_sections(arguments(tmp_path, text))) == []


def test_a_missing_file_gives_nothing() -> None:
    assert list(parameter_sections(["--ros-args", "--params-file", "/no/such/file"])) == []
    assert list(parameter_sections(["--ros-args", "--params-file"])) == []
    assert list(parameter_sections(["--ros-args", "-p"])) == []


@pytest.mark.parametrize(
    ("text", "more", "value"),
    [
        ("other: {ros__parameters: {priority: 5}}", (), 0),
        ("/**: {ros__parameters: {priority: 5}}", (), 5),
        ("policy_runner: {ros__parameters: {priority: 6}}", (), 6),
        ("/ns/policy_runner: {ros__parameters: {priority: 6}}", (), 0),
        ("/ns/policy_runner: {ros__parameters: {priority: 6}}", ("-r", "__ns:=/ns"), 6),
        ("policy_runner: {ros__parameters: {priority: 6}}", ("-r", "__ns:=/ns"), 0),
        ("policy_runner: {ros__parameters: {priority: 6}}", ("-r", "__node:=other"), 0),
        ("other: {ros__parameters: {priority: 6}}", ("-r", "__node:=other"), 6),
        ("/**/policy_runner: {ros__parameters: {priority: 6}}", ("-p", "priority:=7"), 7),
        ("{}", ("-p", "other:priority:=7"), 0),
        ("{}", ("-p", "policy_runner:priority:=8"), 8),
    ],
)
def test_early_value_is_what_the_parameter_will_be(
    tmp_path: Path, text: str, more: tuple[str, ...], value: int
) -> None:
    assert early_value(arguments(tmp_path, text, *more), NAME, "priority", 0) == value


def test_unknown_keys_are_refused_with_a_hint_and_only_warned_about_under_a_wildcard(
    tmp_path: Path,
) -> None:
    text = """
/**: {ros__parameters: {other_nodes_key: 1, raet: 2.0, use_sim_time: true}}
policy_runner: {ros__parameters: {inputs: {imu: {max_aeg: 0.1}}, zzz: 1}}
"""
    words = arguments(tmp_path, text, "-p", "dry_rum:=true")
    known = ["rate", "dry_run", "inputs.imu.max_age"]
    overrides = ["other_nodes_key", "raet", "use_sim_time", "inputs.imu.max_aeg", "zzz", "dry_rum"]
    overrides += ["qos_overrides./imu.subscription.depth", "rate"]
    refused, warned = unknown_keys(overrides, known, words, f"/{NAME}")
    unknown = "expected a parameter of this node, got an unknown name"
    assert refused == [
        f"parameter inputs.imu.max_aeg: {unknown}; did you mean 'inputs.imu.max_age'?",
        f"parameter zzz: {unknown}",
        f"parameter dry_rum: {unknown}; did you mean 'dry_run'?",
    ]
    ignored = "(given under /**, so it is only ignored)"
    assert warned == [
        f"parameter other_nodes_key: {unknown} {ignored}",
        f"parameter raet: {unknown}; did you mean 'rate'? {ignored}",
    ]


def test_a_key_under_a_wildcard_and_in_our_own_section_is_refused(tmp_path: Path) -> None:
    text = "{/**: {ros__parameters: {raet: 1}}, /**/policy_runner: {ros__parameters: {raet: 1}}}"
    refused, warned = unknown_keys(["raet"], ["rate"], arguments(tmp_path, text), "/policy_runner")
    assert (len(refused), warned) == (1, [])


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ([], "/policy_runner"),
        (["-r", "__node:=walker"], "/walker"),
        (["--remap", "__name:=walker", "-r", "__ns:=/a/b"], "/a/b/walker"),
        (["-r", "policy_runner:__ns:=/a", "-r", "other:__node:=walker"], "/a/policy_runner"),
        (["-r", "__ns:=/a", "-r", "__ns:=/b"], "/a/policy_runner"),
        (["--", "-r", "__ns:=/a"], "/policy_runner"),
    ],
)
def test_the_name_that_a_node_gets(words: list[str], name: str) -> None:
    assert node_name(["program", "--ros-args", *words], NAME) == name


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("policy_runner: {ros__parameters: {a: 1}}", "/ns/policy_runner"),  # seen: in a namespace
        ("/**/policy_runner: {ros__parameters: {a: 1}}", "/walker"),  # seen: a renamed node
        ("/ns/policy_runner: {ros__parameters: {a: 1}}", "/policy_runner"),
        ("other: {ros__parameters: {a: 1}}", "/policy_runner"),
        ("{}", "/policy_runner"),
    ],
)
def test_a_file_that_fits_no_node_is_refused_with_what_it_has(
    tmp_path: Path, text: str, node: str
) -> None:
    words = arguments(tmp_path, text)
    (problem,) = section_problems(words, node)
    found = ", ".join(section.name for section in parameter_sections(words)) or "no section"
    name = node.rpartition("/")[2]
    assert str(problem) == (
        f"{words[-1]}: expected a section for the node {node}, such as {node}: or /**/{name}:, "
        f"got {found}"
    )
    # A file from launch for this node must not hide this problem, if the file was meant for it.
    more = other(tmp_path, "launch", f"{node}: {{ros__parameters: {{autostart: true}}}}")
    meant = "policy_runner" in text
    assert len(section_problems([*words, *more], node)) == meant


@pytest.mark.parametrize("node", ["/policy_runner", "/ns/policy_runner"])
def test_sections_of_other_nodes_are_legal(tmp_path: Path, node: str) -> None:
    words = arguments(tmp_path, FILE)
    assert section_problems(words, node) == []
    more = other(tmp_path, "other", "other_node: {ros__parameters: {anything: 1}}")
    assert section_problems([*words, *more], node) == []


def test_a_section_that_this_distribution_does_not_apply_is_named(tmp_path: Path) -> None:
    """Some versions of rclpy know no wildcard except /**: they would ignore the file silently."""
    words = arguments(tmp_path, "/**/policy_runner: {ros__parameters: {rate: 1.0}}")
    (problem,) = section_problems(words, "/policy_runner", overrides=[])
    assert str(problem).endswith("got /**/policy_runner; write /policy_runner: in its place")
    assert section_problems(words, "/policy_runner", overrides=["rate"]) == []


def test_what_is_wrong_with_files_is_said_before_rcl_reads_them(tmp_path: Path) -> None:
    words = arguments(tmp_path, "a: [", *other(tmp_path, "b", "x: {ros__parameters: {a: [1, b]}}"))
    problems = [str(problem) for problem in file_problems([*words, "--params-file", "/no/such"])]
    assert [problem.partition(": ")[0] for problem in problems] == [words[3], words[5], "/no/such"]
