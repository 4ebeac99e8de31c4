"""`policy-runner sim`: the node in lockstep equals one process, refusals, and the draft."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_rig import spec, write_policy
from sim_rig import MODELS, robot_file

from policy_runner.cli.main import main
from policy_runner.package_files import share_path

pytestmark = pytest.mark.skipif(find_spec("mujoco") is None, reason="mujoco is not installed")

needs_ros = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnxruntime") is None,
    reason="the runner needs rclpy and onnxruntime",
)
BALANCER = share_path("models", "balancer")


@needs_ros
@pytest.mark.timeout(240)
def test_the_node_in_lockstep_equals_one_process(spawn: Any, tmp_path: Path) -> None:
    from policy_runner.sim.balancer import ROBOT_FILE
    from policy_runner.sim.loop.policy_in_loop import put_in_loop
    from policy_runner.sim.robot_file.robot_reader import read_robot

    out = tmp_path / "out.json"
    seconds, command = 20, (0.3, 0.0, -0.4)
    argv = ["python", "-m", "policy_runner.cli.main", "sim", str(BALANCER)]
    argv += ["--robot", str(ROBOT_FILE), "--lockstep", "--duration", str(seconds)]
    argv += ["--command", ",".join(map(str, command)), "--seed", "4", "--shuffle", "2"]
    child = spawn([*argv, "--noise", "--command-delay", "0.006", "--json", str(out)])
    loop = put_in_loop(BALANCER, read_robot(ROBOT_FILE), noise_seed=4)
    loop.plant.set_delay(0.006)
    loop.begin(seed=4)
    loop.inputs.command[[0, 1, 5]] = command
    loop.run(seconds)
    assert child.wait(200.0) == 0, child.quote()
    got = json.loads(out.read_text("utf-8"))
    assert (got["simulated_s"], got["commands"], got["falls"]) == (seconds, 2000, 0)
    assert got["base_position"] == loop.plant.read.position("base").tolist()
    assert got["state_hash"] == loop.plant.state_hash
    loop.close()


@needs_ros
@pytest.mark.parametrize(
    ("robot", "rows", "sentence"),
    [
        ({}, {}, "joints: expected every joint of the policy (left_wheel_joint, right_wheel"),
        ({"base": "chest"}, {}, "base: expected a body of the model (trunk,"),
        ({}, {"command.type": "message"}, "command.type: expected joint_state, joint_trajectory"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_starts(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    robot: dict[str, Any],
    rows: dict[str, Any],
    sentence: str,
) -> None:
    robot_file(tmp_path / "r", "toy.xml", **robot)
    argv = ["sim", str(BALANCER), "--robot", str(tmp_path / "r")]
    if rows:
        params = tmp_path / "params.yaml"
        rows = {**rows, "command.message_type": "sensor_msgs/msg/JointState"}
        rows["command.fields"] = ["velocity[0]", "velocity[1]"]
        params.write_text(yaml.safe_dump({"/**": {"ros__parameters": rows}}), "utf-8")
        argv += ["--params", str(params)]
    assert main(argv) == 1
    assert sentence in capsys.readouterr().err


@needs_ros
@pytest.mark.parametrize(
    ("terms", "size", "told"),
    [
        ([], 10, "--command: expected a policy with one twist input, got none; leave it out"),
        (["cmd", "other"], 16, "got cmd, other; publish them yourself, with --no-command"),
    ],
)
def test_a_command_needs_one_twist_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], terms: list[str], size: int, told: str
) -> None:
    given = spec()
    twist = given["inputs"].pop("cmd")
    given["inputs"] |= {name: {**twist, "topic": f"twist/{name}"} for name in terms}
    kept = [one for one in given["observation"][0]["terms"] if one["term"] != "velocity_command"]
    commanded = [{"term": "velocity_command", "name": one, "input": one} for one in terms]
    given["observation"][0]["terms"] = [*kept, *commanded]
    folder = write_policy(tmp_path / "toy", size, **given)
    robot = robot_file(tmp_path / "r", "toy.xml")
    argv = ["sim", str(folder), "--robot", str(robot), "--command", "0.3,0,0"]
    assert main(argv) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0.3,0", "0.3,nan,0", "inf,0,0", "fast"])
def test_a_command_is_three_numbers(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sim", str(BALANCER), "--robot", "r", "--command", text])
    assert ended.value.code == 2
    assert f"expected three numbers VX,VY,WZ, got {text}" in capsys.readouterr().err


def test_without_a_robot_it_says_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", str(BALANCER)]) == 1
    assert "expected SPEC and --robot FILE, or --draft MODEL" in capsys.readouterr().err


def test_a_draft_is_written_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(MODELS["arm.xml"], tmp_path / "arm.xml")
    assert main(["sim", "--draft", str(tmp_path / "arm.xml")]) == 0
    said = capsys.readouterr()
    assert "warning: no effort limit at turn, lift, bend" in said.err
    assert yaml.safe_load((tmp_path / "robot.yaml").read_text("utf-8"))["name"] == "arm"
    assert main(["sim", "--draft", str(tmp_path / "arm.xml")]) == 1
    assert "robot.yaml: --out: expected a file that does not exist" in capsys.readouterr().err
