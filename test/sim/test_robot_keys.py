"""The reference of robot.yaml is what the models say."""

from __future__ import annotations

import json
import re

import pytest
from robot_tables import PAGE, with_robot_tables

from policy_runner.cli.main import main
from policy_runner.sim.robot_file.robot_keys import robot_schema


def test_the_tables_are_those_of_the_models() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert with_robot_tables(text) == text, "run `python tools/robot_tables.py`"


def test_every_model_has_a_table_and_every_key_a_meaning() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"<!-- keys of (\w+) -->", text))
    assert named == {"RobotSpec", *robot_schema()["$defs"]}
    for name, model in robot_schema()["$defs"].items():
        for key, given in model["properties"].items():
            assert given.get("description") or "const" in given or key == "geoms", (name, key)


def test_the_command_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--robot"]) == 0
    assert json.loads(capsys.readouterr().out) == robot_schema()
