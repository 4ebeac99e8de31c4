"""`replay` on arrays: both layouts of signals, observations, tensors, references, refusals."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cli_rig
import numpy as np
import pytest
from cli_rig import PERIOD_S, expected, load, save, signals, write_policy

from policy_runner.cli.main import main

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the model")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """The small policy's folder."""
    return write_policy(tmp_path / "policy")


def replay(policy: Path, given: Path, *options: str) -> int:
    return main(["replay", str(policy), str(given), *options])


def by_input(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Convert the signals to the layout with input names."""
    return {
        "control_dt": given["control_dt"],
        "joints/name": given["joint_state_names"],
        "joints/position": given["joint_position"],
        "imu/orientation": given["imu_orientation_xyzw"],
        "imu/angular_velocity": given["imu_angular_velocity"],
        "cmd/linear.x": given["command"][:, 0],
        "cmd/linear.y": given["command"][:, 1],
        "cmd/angular.z": given["command"][:, 2],
    }


@pytest.mark.parametrize("layout", ["trainer", "inputs"])
def test_signals_meet_a_reference_from_a_loop_of_its_own(
    layout: str, policy: Path, tmp_path: Path, capsys: Any
) -> None:
    given = signals()
    path = save(tmp_path / "given.npz", given if layout == "trainer" else by_input(given))
    reference = save(tmp_path / "wanted.npz", expected(given))
    assert replay(policy, path, "--reference", str(reference), "-o", str(tmp_path / "o.npz")) == 0
    said = capsys.readouterr().out
    assert "20 ticks of 20 ms, 20 inferences: RUN 20" in said
    found = load(tmp_path / "o.npz")
    assert found["observation/obs"].shape == (20, 13)
    assert found["names/obs"][7] == "joint_position/knee"
    assert np.array_equal(found["limited"], found["target"])  # no limits were given


@pytest.mark.parametrize("key", ["expected_observation", "expected_raw_action", "expected_target"])
@pytest.mark.parametrize("wrong", ["off", "nan"])
def test_one_wrong_number_of_the_reference_is_found(
    key: str, wrong: str, policy: Path, tmp_path: Path, capsys: Any
) -> None:
    given = signals()
    path = save(tmp_path / "given.npz", given)
    wanted = expected(given)
    wanted[key][11, 1] += 3e-4 if wrong == "off" else np.nan
    reference = save(tmp_path / "wanted.npz", wanted)
    assert replay(policy, path, "--reference", str(reference)) == 1
    assert "FAIL" in capsys.readouterr().out
    options = ["--atol", "1e-3"]
    assert replay(policy, path, "--reference", str(reference), *options) == int(wrong == "nan")


def test_the_columns_of_expected_targets_go_by_joint_name(policy: Path, tmp_path: Path) -> None:
    given = signals()
    path, wanted = save(tmp_path / "given.npz", given), expected(given)
    wanted["expected_target"] = wanted["expected_target"][:, ::-1]
    reference = save(tmp_path / "wanted.npz", wanted)
    assert replay(policy, path, "--reference", str(reference)) == 1
    wanted["target_joint_names"] = wanted["target_joint_names"][::-1]
    reference = save(tmp_path / "wanted.npz", wanted)
    assert replay(policy, path, "--reference", str(reference)) == 0
    wanted["target_kind"] = np.array(["velocity"] * 2)
    reference = save(tmp_path / "wanted.npz", wanted)
    assert replay(policy, path, "--reference", str(reference)) == 1  # refused: no such column


def test_a_mounted_imu_is_turned_as_the_node_turns_it(policy: Path, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    text = f"    inputs.imu.mounting: [{np.pi}, 0.0, 0.0]\n"
    params.write_text("policy_runner:\n  ros__parameters:\n" + text)
    path, out = save(tmp_path / "given.npz", signals()), tmp_path / "out.npz"
    assert replay(policy, path, "-o", str(out)) == 0
    plain = load(out)["observation/obs"]
    assert replay(policy, path, "-o", str(out), "--params", str(params)) == 0
    turned = load(out)["observation/obs"]
    assert np.allclose(turned[:, :6], plain[:, :6] * [1, -1, -1, 1, -1, -1], atol=1e-6)


def test_its_own_output_is_a_reference_and_ticks_without_inference_are_equal(
    policy: Path, tmp_path: Path
) -> None:
    given = by_input(signals())
    given["imu/t"] = np.arange(20) * PERIOD_S + 5.5 * PERIOD_S  # the first ticks have no message
    for name in ("joints", "cmd"):
        given[f"{name}/t"] = np.arange(20) * PERIOD_S
    path, out = save(tmp_path / "given.npz", given), tmp_path / "out.npz"
    assert replay(policy, path, "-o", str(out)) == 0
    found = load(out)
    assert found["decision"][:6].tolist() == ["STARTING"] * 6
    assert np.isnan(found["raw"][:6]).all()
    assert found["inferred"].sum() > 10
    assert replay(policy, path, "--reference", str(out)) == 0
    found["raw"][8:] = np.nan
    assert replay(policy, path, "--reference", str(save(out, found))) == 1


def test_a_tick_takes_the_newest_message_received_at_or_before_it(
    policy: Path, tmp_path: Path
) -> None:
    random = np.random.default_rng(11)
    given = by_input(signals(60))
    times = {}
    for name in ("imu", "joints", "cmd"):
        # Irregular times with bursts and gaps; some exactly at a tick, the first ones at 0.
        t = np.sort(random.uniform(0, 20 * PERIOD_S, 60))
        t[::7] = np.round(t[::7] / PERIOD_S) * PERIOD_S
        t = np.sort(t)
        t[0] = 0.0
        given[f"{name}/t"] = times[name] = t
    out = tmp_path / "out.npz"
    params = tmp_path / "params.yaml"
    params.write_text(
        "policy_runner:\n  ros__parameters:\n"
        + "".join(f"    inputs.{n}.max_age: 60.0\n" for n in times)
    )
    path = save(tmp_path / "given.npz", given)
    assert replay(policy, path, "-o", str(out), "--params", str(params)) == 0
    found = load(out)
    assert found["inferred"].all()
    ns = {name: np.round(t * 1e9).astype(np.int64) for name, t in times.items()}
    for tick, row in enumerate(found["observation/obs"]):
        now = tick * round(PERIOD_S * 1e9)
        newest = {name: np.flatnonzero(t <= now)[-1] for name, t in ns.items()}
        assert row[0] == np.float32(0.5 * given["imu/angular_velocity"][newest["imu"], 0])
        wanted = given["joints/position"][newest["joints"], 1] - cli_rig.DEFAULT[1]
        assert row[7] == np.float32(wanted)
        assert row[8] == np.float32(given["cmd/linear.x"][newest["cmd"]])


def test_start_and_duration_choose_the_ticks(policy: Path, tmp_path: Path) -> None:
    path, out = save(tmp_path / "given.npz", signals()), tmp_path / "out.npz"
    assert replay(policy, path, "--start", "0.1", "--duration", "0.1", "-o", str(out)) == 0
    t = load(out)["t"]
    assert (t[0], len(t)) == (0.1, 6)


def test_observations_go_through_history_and_normalization(tmp_path: Path) -> None:
    content = cli_rig.spec()["observation"][0]
    content["history"] = {"stack": "frame", "order": "oldest_first", "length": 2, "fill": "zeros"}
    mean, std = [1.0] * 26, [2.0] * 26
    content["normalization"] = {
        "formula": "mean_std", "eps": 0.0, "eps_in_sqrt": False, "on": "stacked",
        "statistics": {"mean": mean, "std": std},
    }  # fmt: skip
    policy = write_policy(tmp_path / "policy", 26, observation=[content])
    frames = np.arange(3 * 13, dtype=np.float64).reshape(3, 13)
    out = tmp_path / "out.npz"
    for key in ("frame", "frame/obs"):
        path = save(tmp_path / "given.npz", {key: frames})
        assert replay(policy, path, "-o", str(out)) == 0
        stacked = np.concatenate([np.vstack([np.zeros(13), frames[:-1]]), frames], axis=1)
        assert np.allclose(load(out)["observation/obs"], (stacked - 1) / 2)


@pytest.mark.parametrize("key", ["in__obs", "tensor/obs", "obs"])
def test_tensors_go_in_as_they_are(key: str, policy: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(4, 1, 13)).astype(np.float32)
    path = save(tmp_path / "given.npz", {key: values})
    wanted = {"out00__actions": values @ cli_rig.weights()}
    reference = save(tmp_path / "wanted.npz", wanted)
    assert replay(policy, path, "--reference", str(reference)) == 0
    one = save(tmp_path / "one.npz", {key: values[0]})
    last = save(tmp_path / "last.npz", {"actions": wanted["out00__actions"][0]})
    assert replay(policy, one, "--reference", str(last)) == 0


def test_limits_of_the_parameters_hold_in_a_replay(policy: Path, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(
        "/**/policy_runner:\n  ros__parameters:\n    joints:\n      hip: {upper: 0.1}\n"
    )
    path, out = save(tmp_path / "given.npz", signals()), tmp_path / "out.npz"
    assert replay(policy, path, "-o", str(out), "--params", str(params)) == 0
    found = load(out)
    assert (found["target"][:, 0] > 0.1).any()
    assert (found["limited"][:, 0] <= 0.1).all()


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib is not installed")
def test_the_plot_is_a_picture(policy: Path, tmp_path: Path) -> None:
    given = signals()
    path = save(tmp_path / "given.npz", {**given, **expected(given)})
    for name, options in (("a.png", ["--reference", str(path)]), ("b.png", [])):
        picture = tmp_path / name
        assert replay(policy, path, "--plot", str(picture), *options) == 0
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size > 30_000
