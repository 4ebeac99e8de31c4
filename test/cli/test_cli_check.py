"""`check`: all problems at once, each with file, key, expected and got."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cli_rig
import pytest
from cli_rig import params, refusals, write_policy

from policy_runner.cli.main import main

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the model")


def test_a_policy_that_fits_passes(tmp_path: Path, capsys: Any) -> None:
    policy = write_policy(tmp_path)
    good = params(tmp_path / "good.yaml", "joints.hip.upper: 1.0\ndecimation: 4")
    assert main(["check", str(policy), "--params", str(good)]) == 0
    said = capsys.readouterr().out
    assert "2 commands, 13 observed numbers, a tick every 0.005 s" in said


def test_commands_without_bounds_are_named(tmp_path: Path, capsys: Any) -> None:
    policy = write_policy(tmp_path)
    half = params(
        tmp_path / "half.yaml",
        "joints.hip.lower: -1.0\njoints.hip.upper: 1.0\njoints.knee.upper: 1.0",
    )
    assert main(["check", str(policy), "--params", str(half)]) == 0
    assert "look at no bounds for knee: set joints.<joint>.lower" in capsys.readouterr().out
    ends = ("hip.lower: -1.0", "hip.upper: 1.0", "knee.lower: -1.0", "knee.upper: 1.0")
    whole = params(tmp_path / "whole.yaml", "\n".join(f"joints.{end}" for end in ends))
    assert main(["check", str(policy), "--params", str(whole)]) == 0
    assert "no bounds" not in capsys.readouterr().out


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path, capsys: Any) -> None:
    observation = cli_rig.spec()["observation"]
    observation[0]["terms"][2]["joints"] = ["hip", "kne"]
    observation[0]["terms"][0]["scale"] = [1.0, 2.0]
    policy = write_policy(tmp_path, observation=observation)
    bad = params(
        tmp_path / "bad.yaml",
        "decimation: 0\njoints.hip.uper: 1.0\njoints.hip.lower: 2.0\njoints.hip.upper: 1.0\n"
        "joints.knee.sign: 0.5\nrate: 7",
    )
    said = refusals(capsys, "check", str(policy), "--params", str(bad))
    wanted = [
        "parameter decimation: expected an integer in 1..100, got 0",
        "parameter rate: expected a float in 1..1000 (Hz), got the integer 7",
        "parameter joints.hip.uper: expected a parameter of this node, got an unknown name; "
        "did you mean 'joints.hip.upper'?",
        "parameter joints.knee.sign: expected 1.0 or -1.0, got 0.5",
        "observation[0].terms[2].joints[1]: expected a joint of joint_names (hip, knee), got 'kne'",
    ]
    for sentence in wanted:
        assert [line for line in said if sentence in line], sentence
    assert sum(str(bad) in line for line in said) >= 3


def test_a_spec_that_cannot_be_read_hides_neither_parameters_nor_model(
    tmp_path: Path, capsys: Any
) -> None:
    policy = write_policy(tmp_path, control_dt="TODO: how fast?", description="TODO")
    (tmp_path / "toy.onnx").write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4711\n"
    )
    bad = params(tmp_path / "bad.yaml", "backend: magic\nsafety.max_tilit: 1.0")
    said = refusals(capsys, "check", str(policy), "--params", str(bad))
    assert f"{policy / 'policy.yaml'}: control_dt: expected how fast?, got TODO" in said
    assert f"{policy / 'policy.yaml'}: description: expected a value, got TODO" in said
    assert any("backend: expected one of" in line and "'magic'" in line for line in said)
    assert any("did you mean 'safety.max_tilt'" in line for line in said)
    assert any("Git LFS pointer" in line and "4711" in line for line in said)
    assert len(said) == 5


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "expected a parameter file, got no such file"),
        ("a: [", "line 1: a: expected ros__parameters above the parameters of a node, got a list"),
        ("policy_runner: {ros__parameters: {a: [1, b]}}", "line 1: /policy_runner: a: expected"),
        ("other_node:\n  ros__parameters: {rate: 1.0}\n", "a section for the node"),
    ],
)
def test_a_parameters_file_for_nobody_is_refused(
    text: str | None, sentence: str, tmp_path: Path, capsys: Any
) -> None:
    policy, path = write_policy(tmp_path / "policy"), tmp_path / "params.yaml"
    if text is not None:
        path.write_text(text)
    assert any(sentence in line for line in refusals(
        capsys, "check", str(policy), "--params", str(path)))  # fmt: skip


@pytest.mark.skipif(find_spec("rclpy") is None, reason="ROS 2 is not installed")
def test_the_parameters_of_the_command_are_checked_too(tmp_path: Path, capsys: Any) -> None:
    policy = write_policy(tmp_path)
    text = (
        "command.joint_names: [knee, hop]\ncommand.effort_from_pd: true\n"
        "inputs.cmd.mounting: [0.0, 1.0, 0.0]"
    )
    said = refusals(
        capsys, "check", str(policy), "--params", str(params(tmp_path / "p.yaml", text))
    )
    assert any("command.joint_names: expected commanded joints (hip, knee)" in s for s in said)
    assert any("stiffness: expected gains for effort_from_pd" in s for s in said)
    assert any("inputs.cmd.mounting: expected three angles" in s for s in said)
    path = params(tmp_path / "p.yaml", "lockstep: true\ncommand.type: float64")
    said = refusals(capsys, "check", str(policy), "--params", str(path))
    assert [line.split(":")[0] for line in said] == [
        "parameter lockstep", "parameter command.type", "parameter lockstep"
    ]  # fmt: skip
    assert "since the input cmd has no stamp: geometry_msgs/msg/Twist is without" in said[-1]


def test_keys_under_a_wildcard_only_warn(tmp_path: Path, capsys: Any) -> None:
    policy = write_policy(tmp_path)
    path = params(tmp_path / "p.yaml", "somebody_elses: 1", section="/**")
    assert main(["check", str(policy), "--params", str(path)]) == 0
    assert "only ignored" in capsys.readouterr().out


def test_an_absent_data_file_is_named(tmp_path: Path, capsys: Any) -> None:
    import onnx

    policy = write_policy(tmp_path)
    file = policy / "toy.onnx"
    model = onnx.load(str(file))
    onnx.save(model, str(file), save_as_external_data=True, location="toy.onnx.data",
              size_threshold=0)  # fmt: skip
    assert main(["check", str(policy)]) == 0
    new = tmp_path / "imported"
    assert main(["import", str(file), "-o", str(new)]) == 0
    assert (new / "toy.onnx.data").read_bytes() == (policy / "toy.onnx.data").read_bytes()
    (policy / "toy.onnx.data").unlink()
    capsys.readouterr()
    said = refusals(capsys, "check", str(policy))
    assert any("toy.onnx.data" in line for line in said)
    content = file.read_bytes().replace(b"toy.onnx.data", b"../../toy.dat")
    file.write_bytes(content)
    said = refusals(capsys, "import", str(file), "-o", str(tmp_path / "other"))
    assert "expected external data in the model's folder, got '../../toy.dat'" in said[0]


def test_options_without_the_graph_are_refused(tmp_path: Path, capsys: Any) -> None:
    policy = write_policy(tmp_path)
    assert "--topic: expected --live with it" in refusals(
        capsys, "check", str(policy), "--topic", "a=b")[0]  # fmt: skip


@pytest.mark.parametrize(
    ("section", "words", "takes"),
    [
        ("policy_runner", [], True),
        ("/**/policy_runner", ["--namespace", "/robot"], True),
        ("/robot/policy_runner", ["--namespace", "robot"], True),
        ("walker", ["--name", "walker"], True),
        ("/robot/policy_runner", [], False),
        ("policy_runner", ["--namespace", "/robot"], False),
        ("policy_runner", ["--name", "walker"], False),
    ],
)
def test_it_says_which_sections_apply(
    tmp_path: Path, capsys: Any, section: str, words: list[str], takes: bool
) -> None:
    policy = write_policy(tmp_path)
    path = params(tmp_path / "robot.yaml", "decimation: 4", section=section)
    with path.open("a", encoding="utf-8") as file:
        file.write("\n/**/other: {ros__parameters: {rate: 1.0}}\n")
    command = ["check", str(policy), "--params", str(path), *words]
    full = section if section.startswith("/") else f"/{section}"
    if takes:
        assert main(command) == 0
        said = capsys.readouterr().out
        assert f" takes {full}; not for it: /**/other\n" in said
        assert "a tick every 0.005 s" in said  # so the parameters were read
    else:
        (said,) = refusals(capsys, *command)
        assert "expected a section for the node /" in said
        assert f"got {full}, /**/other; or say which node it is for: --name, --namespace" in said
