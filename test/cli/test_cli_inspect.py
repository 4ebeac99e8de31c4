"""`inspect`: the resolved contract, as a table and as JSON; suspicious numbers are marked."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cli_rig
import lane_policy
import numpy as np
import pytest
import yaml
from cli_rig import params, write_policy

from policy_runner.cli.main import main
from policy_runner.core.errors import Refusal

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the model")


def suspicious(tmp_path: Path, capsys: Any, **changes: Any) -> str:
    policy = write_policy(tmp_path, **changes)
    assert main(["check", str(policy)]) == 0
    checked = [line for line in capsys.readouterr().out.splitlines() if "look at" in line]
    assert main(["inspect", str(policy), "--json"]) == 0
    found: list[str] = json.loads(capsys.readouterr().out)["suspicious"]
    assert checked == [f"look at {text}" for text in found]
    return "\n".join(found)


def normalized(**normalization: Any) -> list[dict[str, Any]]:
    tensor = cli_rig.spec()["observation"][0]
    return [{**tensor, "normalization": normalization}]


def test_nothing_is_suspicious_about_the_plain_policy(tmp_path: Path, capsys: Any) -> None:
    assert suspicious(tmp_path, capsys) == ""


def test_gains_of_exactly_one_and_zero_are_pointed_at(tmp_path: Path, capsys: Any) -> None:
    said = suspicious(tmp_path, capsys, stiffness=[1.0, 1.0], damping=[0.0, 0.0])
    assert "stiffness: all exactly 1," in said
    assert "damping: all exactly 0," in said


def test_three_decimals_are_pointed_at(tmp_path: Path, capsys: Any) -> None:
    observation = cli_rig.spec()["observation"]
    observation[0]["terms"][2]["joints"] = ["hip", "knee"]
    said = suspicious(
        tmp_path, capsys, joint_names=["hip", "knee", "toe"], observation=observation,
        default_joint_pos=[0.312, 0.669, -0.363], stiffness=[40.17926, 99.09843, 28.50125],
    )  # fmt: skip
    assert said.startswith("default_joint_pos: at most 3 decimals")


def test_small_and_inert_spreads_are_pointed_at(tmp_path: Path, capsys: Any) -> None:
    std = np.linspace(0.511, 1.7, 13) * np.pi
    std[4] = 3e-5
    statistics = {"mean": [0.0] * 13, "std": std.tolist()}
    said = suspicious(tmp_path / "a", capsys,
                      observation=normalized(preset="rsl_rl", statistics=statistics))  # fmt: skip
    assert "observation[0].normalization: std below 0.0001: [4] 3e-05" in said
    variances = {"mean": [0.0] * 13, "var": (std**2).tolist()}
    said = suspicious(tmp_path / "b", capsys,
                      observation=normalized(preset="sb3", statistics=variances))  # fmt: skip
    assert "std below 0.0001: [4] 3e-05" in said
    inert = {"mean": [0.0] * 13, "std": [1.0] * 13}
    said = suspicious(tmp_path / "c", capsys,
                      observation=normalized(preset="rsl_rl", statistics=inert))  # fmt: skip
    assert "it changes nothing" in said
    spans = {"q01": [0.0] * 13, "q99": [1.0] * 12 + [0.001]}
    said = suspicious(
        tmp_path / "d", capsys,
        observation=normalized(preset="openpi_quantile", statistics=spans),
    )  # fmt: skip
    assert "q99 - q01 below 0.002: [12] 0.001" in said


def test_a_normalizer_twice_or_never_is_pointed_at(tmp_path: Path, capsys: Any) -> None:
    statistics = {"mean": (np.arange(13) / 7).tolist(), "std": (np.pi + np.arange(13)).tolist()}
    outside = normalized(preset="rsl_rl", statistics=statistics)
    claimed = [{**cli_rig.spec()["observation"][0], "normalization": "in_model"}]
    key = "observation[0].normalization"
    for inside, observation, wanted in (
        (True, outside, f"{key}: statistics, and the model itself begins with Sub: twice?"),
        (False, outside, ""),
        (True, claimed, ""),
        (False, claimed, f"{key}: in_model, and the model does not begin with one: never?"),
    ):
        said = suspicious(tmp_path, capsys, inside=inside, observation=observation)
        assert said == wanted
    write_policy(tmp_path, inside=True)
    new = tmp_path / "new"
    assert main(["import", str(tmp_path / "toy.onnx"), "-o", str(new)]) == 0
    assert "a normalizer inside it" in capsys.readouterr().out
    assert "normalization: in_model" in (new / "policy.yaml").read_text()


def test_the_contract_says_where_every_joint_goes(tmp_path: Path, capsys: Any) -> None:
    policy = write_policy(tmp_path)
    path = params(tmp_path / "p.yaml", "joints.knee.name: robot_knee\njoints.knee.sign: -1.0")
    assert main(["inspect", str(policy), "--json", "--params", str(path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["inputs"] == [{"name": "obs", "dtype": "float32", "shape": [1, 13]}]
    slices = {one["name"]: one["slice"] for one in found["observation"][0]["terms"]}
    assert slices["joint_position"] == [6, 8]
    assert slices["last_action"] == [11, 13]
    knee = found["joints"][1]
    assert (knee["robot_name"], knee["sign"]) == ("robot_knee", -1.0)
    assert knee["observed"] == ["joint_position[7]", "last_action[12]"]
    assert knee["commands"] == [
        {"element": 1, "kind": "position", "scale": 0.25, "offset": -0.2,
         "relative_to": "default_joint_pos"}
    ]  # fmt: skip


def test_the_table_says_the_same(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    observation = cli_rig.spec()["observation"]
    observation[0]["terms"][2]["joints"] = ["knee", "hip"]
    policy = write_policy(tmp_path, observation=observation)
    assert main(["inspect", str(policy)]) == 0
    said = capsys.readouterr().out
    for text in (
        "field imu.angular_velocity", "scale 0.5", "joints [1 0] of joint_names",
        "- default_joint_pos", "position[1] = 0.25 raw - 0.2", "joint_position[6]",
    ):  # fmt: skip
        assert text in said, text


def test_a_model_alone_shows_its_metadata_and_what_it_leaves_open(
    tmp_path: Path, capsys: Any
) -> None:
    import onnx

    policy = write_policy(tmp_path)
    model = onnx.load(str(policy / "toy.onnx"))
    onnx.helper.set_model_props(
        model,
        {"joint_names": "hip,knee", "observation_names": "base_ang_vel,actions",
         "joint_stiffness": "1.000,1.000", "default_joint_pos": "0.312,0.669"},
    )  # fmt: skip
    onnx.save(model, str(tmp_path / "said.onnx"))
    assert main(["inspect", str(tmp_path / "said.onnx")]) == 0
    said = capsys.readouterr().out
    assert "metadata joint_names: hip,knee" in said
    assert "look at stiffness is exactly 1 or 0" in said
    assert "not said control_dt" in said
    assert main(["inspect", str(tmp_path / "said.onnx"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metadata"]["joint_names"] == "hip,knee"


def test_the_limits_in_force_from_spec_and_parameters(tmp_path: Path, capsys: Any) -> None:
    policy = write_policy(tmp_path, limits={"hip": {"lower": -1.0, "max_rate": 4.0}})
    file = params(tmp_path / "p.yaml", "joints: {hip: {upper: 0.75}}")
    assert main(["inspect", str(policy), "--params", str(file), "--json"]) == 0
    (limit,) = json.loads(capsys.readouterr().out)["limits"]
    assert limit.pop("max_rate") == pytest.approx(4.0)
    assert limit == {"name": "hip", "kind": "position", "lower": -1.0, "upper": 0.75}
    assert main(["inspect", str(policy), "--params", str(file)]) == 0
    assert "limits in force" in capsys.readouterr().out
    assert main(["inspect", str(policy)]) == 0
    assert "0.75" not in capsys.readouterr().out


def test_a_phase_clock_shows_its_offsets_and_its_hold(tmp_path: Path, capsys: Any) -> None:
    observation = cli_rig.spec()["observation"]
    observation[0]["terms"].append(
        {"term": "phase_clock", "period": 0.8, "offsets": [0.0, 0.5], "start": 0.25,
         "layout": "by_clock", "hold": {"input": "cmd", "below": 0.1, "at": 0.25}}
    )  # fmt: skip
    policy = write_policy(tmp_path, size=17, observation=observation)
    assert main(["inspect", str(policy), "--json"]) == 0
    (clock,) = [one for one in json.loads(capsys.readouterr().out)["observation"][0]["terms"]
                if one["term"] == "phase_clock"]  # fmt: skip
    assert clock["source"] == {
        "period": 0.8, "offsets": [0.0, 0.5], "start": 0.25, "layout": "by_clock",
        "hold": {"input": "cmd", "below": 0.1, "at": 0.25},
    }  # fmt: skip
    assert main(["inspect", str(policy)]) == 0
    assert (
        "phase_clock period 0.8 offsets [0, 0.5] start 0.25 layout by_clock "
        "hold (input cmd, below 0.1, at 0.25)"
    ) in capsys.readouterr().out


def test_output_that_is_no_terminal_is_not_wrapped(
    tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    joints = [f"front_left_{part}_joint" for part in ("hip", "knee")]
    observation = cli_rig.spec()["observation"]
    observation[0]["terms"][0] = {
        "term": "field", "input": "imu", "name": "rates",
        "fields": [f"angular_velocity.{axis}" for axis in "xyz"], "clip": [-5.0, 5.0],
        "scale": {f"angular_velocity.{axis}": 0.25 for axis in "xyz"},
    }  # fmt: skip
    groups = [{"kind": "position", "joints": joints, "relative_to": "default_joint_pos"}]
    policy = write_policy(
        tmp_path, observation=observation, joint_names=joints,
        action=[{"tensor": "actions", "groups": groups}],
    )  # fmt: skip
    assert main(["inspect", str(policy)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if "rates" in line]
    assert "angular_velocity.x, angular_velocity.y, angular_velocity.z" in line
    assert "angular_velocity.z 0.25" in line
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["inspect", str(policy)]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert max(map(len, rows)) <= 80


def test_an_unknown_joint_is_named() -> None:
    from policy_runner.cli.inspect.contract import permutation

    spec: Any = SimpleNamespace(joint_names=["hip", "knee"])
    assert permutation(spec, ["hip", "knee"]) is None
    assert permutation(spec, ["knee"]) == [1]
    with pytest.raises(Refusal, match=r"joints: expected joints of joint_names .* got 'kne', 'x'"):
        permutation(spec, ["hip", "kne", "x"])


def test_blocks_of_a_history_are_shown_apart(tmp_path: Path, capsys: Any) -> None:
    tensor = cli_rig.spec()["observation"][0]
    terms = ["rates", "projected_gravity", "joint_position", "velocity_command", "last_action"]
    tensor["history"] = {"fill": "zeros", "blocks": [{"terms": terms[:1], "lags": [1]},
                                                     {"terms": terms[1:]}]}  # fmt: skip
    folder = write_policy(tmp_path, observation=[tensor])
    assert main(["inspect", str(folder)]) == 0
    assert "history: blocks [(terms [rates], lags [1]), (terms [projected_gravity," in (
        capsys.readouterr().out
    )


def test_a_chunk_is_shown(tmp_path: Path, capsys: Any) -> None:
    path = lane_policy.write_policy(tmp_path) / "policy.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["chunk"]["seam"] = {"method": "replace"}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert main(["inspect", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["chunk"] == {"dt": 0.02, "seam": {"method": "replace"}}
    assert found["chunk_inputs"] == {}
    assert main(["inspect", str(path)]) == 0
    assert "chunk: dt 0.02, seam method replace" in capsys.readouterr().out
