"""Several keys do not fit the model or each other: all problems are reported together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from core_rig import FakeModel, make_rig, refused, spec_content, term


def test_tensors_of_model_and_spec(tmp_path: Path) -> None:
    model = FakeModel({"obs_": (1, 2), "h": (1, 4)}, {"actions": (1, 2), "value": (1,)})
    file = tmp_path / "policy.yaml"
    assert refused(make_rig, tmp_path, spec_content(), model) == [
        f"{file}: observation[0].tensor: expected a tensor of the model (obs_, h), got 'obs'; "
        "did you mean 'obs_'?",
        f"{file}: observation: expected the model's input 'obs_' in observation or state, "
        "got no tensor of that name",
        f"{file}: observation: expected the model's input 'h' in observation or state, "
        "got no tensor of that name",
        f"{file}: action: expected the model's output 'actions' in action, state or "
        "ignored_outputs, got no tensor of that name",
        f"{file}: action: expected the model's output 'value' in action, state or "
        "ignored_outputs, got no tensor of that name",
        f"{file}: action[0].tensor: expected a tensor of the model (actions, value), got 'act'; "
        "did you mean 'actions'?",
    ]


def test_recurrent_state_must_fit(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    content = spec_content(
        state=[{"input": "h", "output": "h_out"}, {"input": "c", "output": "c_ou"}]
    )
    model = FakeModel(
        {"obs": (1, 2), "h": (1, 4), "c": (1, 4)},
        {"act": (1, 2), "h_out": (1, 3), "c_out": (1, 4)},
    )
    sentences = refused(make_rig, tmp_path, content, model)
    assert f"{file}: state[0].output: expected the shape of 'h' (1, 4), got (1, 3)" in sentences
    assert (
        f"{file}: state[1].output: expected a tensor of the model (act, h_out, c_out), got 'c_ou'; "
        "did you mean 'c_out'?" in sentences
    )
    content["state"] = [{"input": "h", "output": "h_out"}]
    model = FakeModel(
        {"obs": (1, 2), "h": (1, 4)}, {"act": (1, 2), "h_out": np.zeros((1, 4), np.float64)}
    )
    assert refused(make_rig, tmp_path, content, model) == [
        f"{file}: state[0].output: expected the type of 'h' float32, got float64"
    ]


def test_observation_and_action_problems_come_together(tmp_path: Path) -> None:
    content = spec_content()
    content["observation"][0]["terms"] = [
        term("joint_velocity", input="joints", joints=["c"]),
        term("joint_velocity", input="joins"),
    ]
    content["observation"][0]["normalization"] = {
        "preset": "sb3",
        "statistics": {"mean": [0.0], "var": [1.0]},
    }
    content["action"][0]["groups"][0].update(joints=["a", "x"], scale=[1])
    content["ignored_outputs"] = ["none"]
    keys = [s.split(": ")[1] for s in refused(make_rig, tmp_path, content)]
    assert keys == [
        "action[0].groups[0].joints[1]",
        "observation[0].terms[0].joints[0]",
        "observation[0].terms[1].input",
        "ignored_outputs[0]",
    ]


def test_tilt_needs_a_gravity_term(tmp_path: Path) -> None:
    assert refused(make_rig, tmp_path, spec_content(), max_tilt_rad=0.5) == [
        "parameter safety.max_tilt: expected 0, or a policy with a projected_gravity term, got 0.5"
    ]
