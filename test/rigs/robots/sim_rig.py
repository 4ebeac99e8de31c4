"""Small robots for the tests of the simulator, written as robot.yaml next to their MJCF."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

MODELS = {
    "arm.xml": Path(__file__).with_name("arm.xml"),
    "toy.xml": Path(__file__).resolve().parents[3] / "models" / "toy" / "toy.xml",
}
LEGS = ("FL", "FR", "RL", "RR")
TOY_JOINTS = [f"{leg}_{joint}" for leg in LEGS for joint in ("hip", "knee")]


def robot_file(folder: Path, file: str, text: str | None = None, /, **keys: Any) -> Any:
    """Write and read a robot.

    Args:
        folder: gets `robot.yaml` and the model.
        file: a key of `MODELS`, or of the file to write.
        text: content of the model; None: the file of `MODELS`.
        keys: keys of robot.yaml; `model` is merged.
    """
    from policy_runner.sim.robot_file.robot_reader import read_robot

    folder.mkdir(parents=True, exist_ok=True)
    if text is None:
        shutil.copy(MODELS[file], folder / file)
    else:
        (folder / file).write_text(text, "utf-8")
    content = {"schema": "policy_runner_robot/1", **keys}
    content["model"] = {"file": file, **keys.get("model", {})}
    (folder / "robot.yaml").write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    return read_robot(folder / "robot.yaml")


def plant(folder: Path, file: str, text: str | None = None, /, **keys: Any) -> Any:
    """Write, read and build a robot; see `robot_file`."""
    from policy_runner.sim.plant.plant import Plant

    return Plant(robot_file(folder, file, text, **keys))
