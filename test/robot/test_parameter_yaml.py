"""One parameter file: rcl's types, and a sentence with file, line and key for each error."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from yaml_values import VALUES

from policy_runner.core.errors import Refusal
from policy_runner.robot.parameter_yaml import (
    argument_value,
    read_parameter_file,
    section_fits,
    typed_value,
)


def written(folder: Path, text: str) -> Path:
    path = folder / "robot.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("text", VALUES)
def test_values_have_rcls_types(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, f"/**:\n  ros__parameters:\n    key: {text}\n")
    (section,) = read_parameter_file(path)
    value = section.keys["key"]
    assert (type(value), value) == (type(VALUES[text]), VALUES[text])
    assert argument_value(text) == VALUES[text]


def test_a_number_that_is_none() -> None:
    for text in (".nan", "nan", "-NaN"):
        assert math.isnan(typed_value(text))
    assert typed_value("nan", quoted=True) == "nan"


def test_sections_and_their_flat_keys(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
/**: {ros__parameters: {a: 1}}
/ns:
  robot:
    runner: {ros__parameters: {b: {c: 2.0, d: {e: yes}}}}
    other: {}
policy_runner:
  ros__parameters: {}
""",
    )
    found = [(section.name, section.keys) for section in read_parameter_file(path)]
    assert found == [
        ("/**", {"a": 1}),
        ("/ns/robot/runner", {"b.c": 2.0, "b.d.e": True}),
        ("/policy_runner", {}),
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "---\n"])
def test_a_file_without_sections(tmp_path: Path, text: str) -> None:
    assert read_parameter_file(written(tmp_path, text)) == []


HEAD = "/**/policy_runner:\n  ros__parameters:\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            f"{HEAD}    cores: [1, two]\n",
            "line 3: /**/policy_runner: cores: expected a list with values of one type, "
            "got an integer and a string (two)",
        ),
        (
            f"{HEAD}    safety:\n\t  max_tilt: 1.0\n",
            "line 4: /**/policy_runner: safety: expected YAML, got a tab: ",
        ),
        (
            "policy_runner:\n  rate: 1.0\n",
            "line 2: policy_runner: rate: expected ros__parameters above the parameters of a node",
        ),
        ("- 1\n", "line 1: expected names of nodes, and their parameters below, got a list"),
        ("rate\n", "line 1: expected names of nodes, and their parameters below, got a value"),
        ("ros__parameters: {a: 1}\n", "line 1: ros__parameters: expected the name of a node"),
        ("x:\n  ros__parameters: 3\n", "line 2: x: ros__parameters: expected parameters below it"),
        ("x:\n  ros__parameters:\n", "line 2: x: ros__parameters: expected parameters below it"),
        (f"{HEAD}    a:\n", "line 3: /**/policy_runner: a: expected a value, got none"),
        (f"{HEAD}    a: {{}}\n", "line 3: /**/policy_runner: a: expected a value, or keys below"),
        (f"{HEAD}    a: [[1]]\n", "a: expected a list of plain values, got a list in it"),
        (f"{HEAD}    a: [b: 1]\n", "a: expected a list of plain values, got a mapping in it"),
        (f"{HEAD}    a: 1\n    a: 2\n", "line 4: /**/policy_runner: a: expected each key once"),
        (f"{HEAD}    a.b: 1\n    a: {{b: 2}}\n", "a.b: expected each key once, got it in line 3"),
        (
            "x: {ros__parameters: {a: 1}}\nx: {ros__parameters: {a: 2}}\n",
            "line 2: x: expected",
        ),
        (f"{HEAD}    a: &b 1\n    c: *b\n", "line 4: /**/policy_runner: c: expected a value, got"),
        (f"{HEAD}    a: !!str 1\n", "line 3: /**/policy_runner: a: expected values without tags"),
        ("/ns/**: {ros__parameters: {a: 1}}\n", "line 1: expected the name of a node, such as"),
        ("a b: {ros__parameters: {a: 1}}\n", "line 1: expected the name of a node, such as"),
        ("x:\n  ros__parameters: {a: 1}\n  rate: 2\n", "line 3: x: expected nothing next to"),
        ("{}\n---\n{}\n", "line 2: expected one document, got a second one"),
        ("a: [\n", "expected"),
        ("\0", "expected YAML"),
        ('a: "\ud83d"'.encode("utf-16", "surrogatepass").decode("latin-1"), "expected"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(Refusal) as caught:
        read_parameter_file(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert sentence in said
    assert "\n" not in said


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    for path, got in ((tmp_path / "none.yaml", "no such file"), (tmp_path, "is a directory")):
        with pytest.raises(Refusal, match=f"expected a parameter file, got {got}"):
            read_parameter_file(path)


@pytest.mark.parametrize(
    ("section", "node", "fits"),
    [
        ("/**", "/policy_runner", True),
        ("/**", "/a/b/c", True),
        ("/*", "/policy_runner", True),
        ("/*", "/a/policy_runner", False),
        ("/**/*", "/a/policy_runner", True),
        ("/policy_runner", "/policy_runner", True),
        ("/policy_runner", "/ns/policy_runner", False),
        ("/ns/policy_runner", "/policy_runner", False),
        ("/**/policy_runner", "/policy_runner", True),
        ("/**/policy_runner", "/a/b/policy_runner", True),
        ("/**/policy_runner", "/a/b/policy_runner2", False),
        ("/ns/*", "/ns/policy_runner", True),
        ("/ns/*", "/ns/a/policy_runner", False),
    ],
)
def test_which_nodes_a_section_speaks_to(section: str, node: str, fits: bool) -> None:
    assert section_fits(section, node) == fits
