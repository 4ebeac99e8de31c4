"""Damaged and hostile robot.yaml files give a robot or a Refusal; so does the check of a model."""

from __future__ import annotations

import random
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from fuzzing import fuzz, json_bytes, mutated_bytes, mutated_tree

from policy_runner.core.errors import Refusal
from policy_runner.package_files import share_path
from policy_runner.sim.robot_file.robot_reader import read_robot

FILES = [
    share_path("models", "toy", "robot.yaml"),
    Path(__file__).resolve().parents[2] / "policy_runner" / "sim" / "balancer.yaml",
]


def test_robot_files(tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    texts = [file.read_bytes() for file in FILES]
    trees = [yaml.safe_load(text) for text in texts]

    def read(content: bytes) -> None:
        path.write_bytes(content)
        read_robot(path)

    def make(rng: random.Random) -> bytes:
        if rng.random() < 0.5:
            return mutated_bytes(rng, rng.choice(texts), texts)
        return json_bytes(mutated_tree(rng, rng.choice(trees)))

    for text in texts:
        read(text)
    found = fuzz("robot", tmp_path, make, read, Refusal)
    assert found["read"]
    assert found["refused"]


@pytest.mark.skipif(find_spec("mujoco") is None, reason="mujoco is not installed")
def test_entities_and_includes_read_no_other_file(tmp_path: Path) -> None:
    from policy_runner.sim.plant.model_text import read_model

    (tmp_path / "secret.xml").write_text("<mujoco/>", "utf-8")
    folder = tmp_path / "robot"
    folder.mkdir()
    path = folder / "robot.xml"
    entity = f'<!DOCTYPE m [<!ENTITY x SYSTEM "file://{tmp_path}/secret.xml">]><mujoco>&x;</mujoco>'
    (folder / "link.xml").symlink_to(tmp_path / "secret.xml")
    for content in (
        entity.encode(),
        entity.encode("utf-16"),
        b'<mujoco><include file="link.xml"/></mujoco>',
        f'<mujoco><include file="{tmp_path}/secret.xml"/></mujoco>'.encode(),
        b"<mujoco>" + b"<body>" * 100_000,
    ):
        path.write_bytes(content)
        with pytest.raises(Refusal):
            read_model(read_robot(path))
