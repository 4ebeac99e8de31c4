"""`replay` of policies with several models: signals, frames and tensors, and what is refused."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import several_rig
from cli_rig import load, save
from several_rig import (
    FRAME,
    JOINTS,
    LENGTH,
    chain,
    recorded,
    switch,
    two_inputs,
    walked,
    walked_two_inputs,
)

from policy_runner.cli.main import main

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the models")


def signals(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the recording in the layout with input names."""
    return {
        "control_dt": np.array(several_rig.PERIOD_S),
        "joints/name": np.array(JOINTS),
        "joints/position": given["position"],
        "joints/velocity": given["velocity"],
        **{f"command/{axis}": given["command"][:, k]
           for k, axis in enumerate(("linear.x", "linear.y", "angular.z"))},
    }  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """`run(spec, arrays, *options)`: the exit status and the arrays that replay wrote."""

    def replay(
        content: dict[str, Any], arrays: dict[str, np.ndarray], *options: str
    ) -> tuple[int, dict[str, np.ndarray]]:
        spec = several_rig.write(tmp_path / "policy", content)
        given, out = save(tmp_path / "given.npz", arrays), tmp_path / "out.npz"
        status = main(["replay", str(spec), str(given), "-o", str(out), *options])
        return status, load(out) if out.exists() else {}

    return replay


def test_a_chain_meets_a_reference_and_shows_every_model(run: Any, tmp_path: Path) -> None:
    given = recorded()
    reference = save(tmp_path / "wanted.npz", {"expected_target": walked(given)})
    status, found = run(chain(), signals(given), "--reference", str(reference))
    assert status == 0
    assert found["names/obs"][3] == "encoder/latent[0]"
    assert found["observation/encoder/history"].shape == (160, FRAME * LENGTH)
    ran = np.isfinite(found["output/encoder/latent"]).all(axis=1)
    assert np.array_equal(np.flatnonzero(ran), np.arange(0, 160, several_rig.EVERY))
    wrong = save(tmp_path / "wrong.npz", {"expected_target": walked(given)[::-1]})
    assert run(chain(), signals(given), "--reference", str(wrong))[0] == 1


def test_frames_and_tensors_of_a_chain_give_the_same_actions(run: Any) -> None:
    _, whole = run(chain(), signals(recorded()))
    rows = {name: whole[f"observation/{name}"] for name in ("obs", "encoder/history")}
    # Only the rows with an inference of the encoder are known; between them its input is not read.
    rows["encoder/history"] = np.nan_to_num(rows["encoder/history"])
    status, found = run(chain(), {f"tensor/{name}": array for name, array in rows.items()})
    assert status == 0
    assert np.allclose(found["target"], whole["target"], atol=1e-6)
    frames = several_frames(whole)
    status, found = run(chain(), frames)
    assert status == 0
    assert np.allclose(found["target"], whole["target"], atol=1e-5)


def several_frames(whole: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return frames of obs without the latent, which is computed, and of the encoder's history."""
    obs = whole["observation/obs"].astype(np.float64) * several_rig.STD + several_rig.MEAN
    last = np.vstack([np.zeros((1, 2)), whole["raw"][:-1]])
    history = np.concatenate([obs[:, 7:9], obs[:, 9:11], last], axis=1)
    obs[:, 3:7] = 99.0
    return {"frame/obs": obs, "frame/encoder/history": history}


def test_a_switch_shows_which_policy_ran(run: Any, capsys: Any) -> None:
    given = recorded()
    status, found = run(switch(), signals(given))
    assert status == 0
    speed = np.linalg.norm(given["command"], axis=1)
    walks = found["policy"] == "walk"
    assert walks[speed > several_rig.UP].all()
    assert not walks[speed < several_rig.DOWN].any()
    assert np.isfinite(found["output/walk/actions"][walks]).all()
    assert np.isnan(found["output/walk/actions"][~walks]).all()
    assert np.isnan(found["output/actions"][walks]).all()
    names = ("obs", "walk/obs", "walk/encoder/history")
    rows = {f"tensor/{n}": np.nan_to_num(found[f"observation/{n}"]) for n in names}
    assert run(switch(), rows)[0] == 1
    assert "switch/value: expected the value of the switch in every" in capsys.readouterr().err
    status, again = run(switch(), {**rows, "switch/value": speed})
    assert status == 0
    assert np.array_equal(again["policy"], found["policy"])
    assert np.allclose(again["target"], found["target"], atol=1e-6)


def test_a_tensor_that_a_model_computes_is_left_out(run: Any, capsys: Any) -> None:
    given = recorded()
    arrays = {n: a for n, a in signals(given).items() if not n.startswith("command")}
    status, whole = run(two_inputs(), arrays)
    assert status == 0
    assert np.allclose(whole["target"], walked_two_inputs(given), atol=1e-4)
    names = ("obs", "latent", "encoder/history")
    rows = {f"tensor/{n}": np.nan_to_num(whole[f"observation/{n}"]) for n in names}
    assert run(two_inputs(), rows)[0] == 1
    assert "latent: expected no such array, since another model" in capsys.readouterr().err
    del rows["tensor/latent"]
    status, found = run(two_inputs(), rows)
    assert status == 0
    assert np.allclose(found["target"], whole["target"], atol=1e-6)
