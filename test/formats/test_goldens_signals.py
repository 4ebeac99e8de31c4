"""Published policies fed with raw signals, against an independent reading of their deployment code.

The signals come from the trainers' deployment code; see the NOTES.md next to each. The joints of a
joint state are in random order, with foreign joints among them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from golden_rig import (
    content_of,
    excess,
    needs_policies,
    run_signals,
    signals_of,
    spec_beside_model,
)

pytestmark = needs_policies
FOLDERS = (
    "lite3-ppo",
    "go2w-robotlab",
    "g1-velocity-hist5",
    "g1-mjlab-velocity-extdata",
    "b2w-lstm",
)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_element_of_every_tick(folder: str, seed: int) -> None:
    signals = signals_of(folder)
    run = run_signals(spec_beside_model(folder), signals, seed)
    assert run.names == signals["target_joint_names"].tolist()
    assert run.kinds == signals["target_kind"].tolist()
    assert run.observation.shape == signals["expected_observation"].shape
    assert run.target.shape == signals["expected_target"].shape
    assert excess(run.observation, signals["expected_observation"]) <= 1.0
    assert excess(run.target, signals["expected_target"]) <= 1.0


def test_state_after_the_last_tick() -> None:
    signals = signals_of("b2w-lstm")
    run = run_signals(spec_beside_model("b2w-lstm"), signals)
    for name in ("h", "c"):
        found, expected = run.model.inputs[f"{name}_in"], signals[f"expected_{name}_out"]
        assert excess(found, expected) <= 1.0


def _term(content: dict[str, Any], name: str) -> dict[str, Any]:
    terms = content["observation"][0]["terms"]
    return next(t for t in terms if name in (t.get("name"), t["term"]))


def _group(content: dict[str, Any], k: int = 0) -> dict[str, Any]:
    return content["action"][0]["groups"][k]


def _swap(names: list[str], a: int, b: int) -> None:
    names[a], names[b] = names[b], names[a]


def _swap_joints_of_the_observation(content: dict[str, Any], term: str) -> None:
    joints = list(content["joint_names"])
    _swap(joints, 1, 2)
    _term(content, term)["joints"] = joints


# Wrong interpretations of a trainer's code: each is one change of a right spec.
MUTATIONS: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "lite3: one scale": ("lite3-ppo", lambda c: _term(c, "angular_velocity").update(scale=0.2)),
    "lite3: one element's scale": (
        "lite3-ppo",
        lambda c: _term(c, "joint_velocity").update(
            scale={"FL_Knee_joint": 0.055, **dict.fromkeys(c["joint_names"][:2], 0.05),
                   **dict.fromkeys(c["joint_names"][3:], 0.05)}
        ),
    ),
    "lite3: no range of the command": (
        "lite3-ppo", lambda c: _term(c, "velocity_command").pop("range")
    ),
    "lite3: one joint pair": ("lite3-ppo", lambda c: _swap(_group(c)["joints"], 0, 3)),
    "lite3: absolute positions": (
        "lite3-ppo", lambda c: _term(c, "joint_position").pop("relative_to")
    ),
    "lite3: last action is the target": ("lite3-ppo", lambda c: c.update(last_action="target")),
    "lite3: one default": (
        "lite3-ppo",
        lambda c: c.update(default_joint_pos={".*_HipX_joint": 0.0, ".*_HipY_joint": -0.65,
                                              ".*_Knee_joint": 1.35}),
    ),
    "go2w: wheels are observed": (
        "go2w-robotlab", lambda c: _term(c, "dof_pos").update(scale=1.0)
    ),
    "go2w: the stand-up pose": (
        "go2w-robotlab",
        lambda c: c.update(default_joint_pos={".*_hip_joint": 0.0, ".*_thigh_joint": 0.8,
                                              ".*_calf_joint": -1.5, ".*_foot_joint": 0.0}),
    ),
    "go2w: one joint pair of the observation": (
        "go2w-robotlab", lambda c: _swap_joints_of_the_observation(c, "dof_vel")
    ),
    "go2w: scale of the wheels": ("go2w-robotlab", lambda c: _group(c, 1).update(scale=4.5)),
    "go2w: wheels exchanged": (
        "go2w-robotlab", lambda c: _swap(_group(c, 1)["joints"], 0, 1)
    ),
    "hist5: newest first": (
        "g1-velocity-hist5",
        lambda c: c["observation"][0]["history"].update(order="newest_first"),
    ),
    "hist5: frame by frame": (
        "g1-velocity-hist5", lambda c: c["observation"][0]["history"].update(stack="frame")
    ),
    "hist5: starts with zeros": (
        "g1-velocity-hist5", lambda c: c["observation"][0]["history"].update(fill="zeros")
    ),
    "hist5: one scale": (
        "g1-velocity-hist5", lambda c: _term(c, "base_ang_vel").update(scale=[0.2, 0.2, 0.22])
    ),
    "hist5: one joint pair": (
        "g1-velocity-hist5", lambda c: _swap_joints_of_the_observation(c, "joint_pos_rel")
    ),
    "hist5: one offset": (
        "g1-velocity-hist5", lambda c: _group(c)["offset"].__setitem__(21, 0.87)
    ),
    "hist5: motor order": (
        "g1-velocity-hist5", lambda c: _group(c).update(joints=sorted(c["joint_names"]))
    ),
    "mjlab: range of the other policy": (
        "g1-mjlab-velocity-extdata",
        lambda c: _term(c, "velocity_commands").update(
            range=[[-0.5, 1.0], [-0.3, 0.3], [-1.0, 1.0]]
        ),
    ),
    "mjlab: the trainer's scale of the waist": (
        "g1-mjlab-velocity-extdata", lambda c: _group(c)["scale"].__setitem__(12, 0.55)
    ),
    "mjlab: one offset": (
        "g1-mjlab-velocity-extdata", lambda c: _group(c)["offset"].__setitem__(3, 0.29)
    ),
    "b2w: wrapped at 2 pi": (
        "b2w-lstm", lambda c: _term(c, "joint_position").update(wrap=6.283185307179586)
    ),
    "b2w: not wrapped": ("b2w-lstm", lambda c: _term(c, "joint_position").pop("wrap")),
    "b2w: state exchanged": (
        "b2w-lstm",
        lambda c: c.update(
            state=[{"input": "h_in", "output": "c_out"}, {"input": "c_in", "output": "h_out"}]
        ),
    ),
    "b2w: one joint pair": (
        "b2w-lstm", lambda c: _swap_joints_of_the_observation(c, "joint_velocity")
    ),
    "b2w: the crouched profile": (
        "b2w-lstm", lambda c: _group(c, 1).update(offset=-0.15)
    ),
}  # fmt: skip


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_one_wrong_setting_is_seen(mutation: str) -> None:
    folder, change = MUTATIONS[mutation]
    content = content_of(folder)
    change(content)
    signals = signals_of(folder)
    run = run_signals(spec_beside_model(folder, content), signals)
    order = [run.names.index(name) for name in signals["target_joint_names"].tolist()]
    assert (
        max(
            excess(run.observation, signals["expected_observation"]),
            excess(run.target[:, order], signals["expected_target"]),
        )
        > 10.0
    )


def test_a_dropped_state_is_seen() -> None:
    signals = signals_of("b2w-lstm")
    content = content_of("b2w-lstm")
    # The state's inputs stay zero, and its outputs are ignored.
    del content["state"]
    for name in ("h", "c"):
        content["observation"].append({"tensor": f"{name}_in", "constant": 0.0})
    content["ignored_outputs"] = ["h_out", "c_out"]
    run = run_signals(spec_beside_model("b2w-lstm", content), signals)
    assert excess(run.observation[:1], signals["expected_observation"][:1]) <= 1.0
    assert excess(run.target, signals["expected_target"]) > 10.0


def test_the_golden_files_are_the_ones_described() -> None:
    for folder in FOLDERS:
        signals = signals_of(folder)
        assert len(signals["command"]) == 60
        assert np.all(np.isfinite(signals["expected_target"]))
