"""What advances, what is judged and what a fault leaves in a policy with several models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from core_rig import MS, Rig, make_rig, spec_content, term
from several_models_rig import (
    Group,
    Keeping,
    actor,
    adding,
    chain,
    chain_content,
    drive,
    encoder,
    switch,
    tick,
)

from policy_runner.core.safety.decision import Decision, Reason
from policy_runner.core.settings import CommandLimits


def target(rig: Rig) -> list[float]:
    return rig.pipeline.policy.decoder.target.tolist()


def test_the_policy_reads_the_latent_of_the_same_inference(tmp_path: Path) -> None:
    rig = chain(tmp_path)
    for k in range(3):
        assert tick(rig, (k + 1) * MS) is Decision.RUN
        assert target(rig) == [1.0 + k, 2.0 + k]  # the state counts the runs


def test_an_encoder_keeps_its_output_between_two_runs_and_runs_after_a_reset(
    tmp_path: Path,
) -> None:
    rig = chain(tmp_path, every=3)
    seen = []
    for k in range(7):
        tick(rig, (k + 1) * MS, (float(k), 0.0))
        seen.append(target(rig)[0])
    assert seen == [0.0, 0.0, 0.0, 3.0 + 1, 4.0, 4.0, 6.0 + 2]
    rig.pipeline.reset()
    tick(rig, 8 * MS, (9.0, 0.0))
    assert target(rig)[0] == 9.0  # the state is 0 again, too


@pytest.mark.parametrize("which", ["encoder", "main"])
def test_a_nan_stops_and_leaves_no_state_and_no_latch_in_the_observation(
    which: str, tmp_path: Path
) -> None:
    rig = chain(tmp_path)
    tick(rig, MS)
    parts = rig.model.parts  # type: ignore[attr-defined]
    faulty = parts["encoder" if which == "encoder" else ""]
    compute = faulty.compute
    name = "z" if which == "encoder" else "act"
    faulty.compute = lambda given: {**compute(given), name: np.nan}
    assert tick(rig, 2 * MS) is Decision.SAFE_STOP
    assert rig.pipeline.safety.reason is Reason.ACTION_NOT_FINITE
    says = "the output of the model 'encoder'" if which == "encoder" else "the model's output"
    assert rig.pipeline.safety.detail == says
    assert parts["encoder"].inputs["m"].item() == 1.0  # the state of the last good inference
    faulty.compute = compute
    rig.pipeline.operator.ask_to_arm(lambda accepted, _why: accepted)
    assert tick(rig, 3 * MS) is Decision.RUN  # the latent of the fault is not judged again
    assert target(rig) == [1.0, 2.0]


def test_a_model_that_carries_its_states_is_left_to_do_so(tmp_path: Path) -> None:
    rig = chain(tmp_path, kind=Keeping)
    own = rig.model.parts["encoder"]  # type: ignore[attr-defined]
    assert len(own.kept) == 1
    tick(rig, MS)
    assert own.inputs["m"].item() == 0.0  # nothing was copied
    before = own.resets
    rig.pipeline.reset()
    assert own.resets == before + 1


def test_an_output_of_the_previous_inference_is_zero_at_first(tmp_path: Path) -> None:
    content = chain_content()
    content["observation"][0]["terms"][0]["previous"] = True
    rig = make_rig(tmp_path, content, Group(main=actor(), encoder=encoder()))
    for wanted in ([0.0, 0.0], [1.0, 2.0], [2.0, 3.0]):
        tick(rig, int(1 + wanted[1]) * MS)
        assert target(rig) == wanted
    rig.pipeline.reset()
    tick(rig, 9 * MS)
    assert target(rig) == [0.0, 0.0]


@pytest.mark.parametrize(
    ("last_action", "targets", "counts"),
    [
        ("carry", [1.0, 2.0, 102.0, 202.0, 203.0], [0, 1, 0, 1, 2]),
        ("own", [1.0, 2.0, 100.0, 200.0, 3.0], [0, 1, 0, 1, 2]),
        ("zeros", [1.0, 2.0, 100.0, 200.0, 1.0], [0, 1, 0, 1, 2]),
    ],
)
def test_what_the_last_action_is_after_a_change(
    last_action: str, targets: list[float], counts: list[int], tmp_path: Path
) -> None:
    rig = switch(tmp_path, last_action)
    found, seen = [], []
    for k, speed in enumerate((0.0, 1.5, 2.5, -1.5, 0.5)):  # 1.5 is between the thresholds
        assert drive(rig, (k + 1) * MS, speed) is Decision.RUN
        found.append(target(rig)[0])
        part = rig.model.parts[rig.pipeline.policy.active.replace("slow", "")]  # type: ignore[attr-defined]
        seen.append(int(part.inputs["obs"][0, 2]))
    assert found == targets
    assert seen == counts
    assert rig.pipeline.policy.changes == 2


def test_the_limited_command_is_carried_to_the_policy_that_takes_over(tmp_path: Path) -> None:
    limits = CommandLimits(np.full(2, -500.0), np.full(2, 500.0), np.full(2, 40.0))
    rig = switch(tmp_path, "carry", "limited", limits=limits)
    # The commands are 40 and 80: 40 per tick.
    for k, (speed, wanted) in enumerate([(3.0, 100.0), (3.0, 140.0), (0.0, 81.0)]):
        drive(rig, (k + 1) * MS, speed)
        assert target(rig)[0] == wanted
    assert rig.pipeline.policy.changes == 1  # the first inference takes the policy that fits


def test_the_target_continues_after_a_change(tmp_path: Path) -> None:
    rig = switch(tmp_path, "zeros", ema=0.5)
    for k, (speed, wanted) in enumerate([(0.0, 1.0), (0.0, 1.5), (3.0, 50.75)]):
        drive(rig, (k + 1) * MS, speed)
        assert target(rig)[0] == wanted


def test_a_value_that_is_not_finite_holds_and_changes_nothing(tmp_path: Path) -> None:
    rig = switch(tmp_path, "own")
    drive(rig, MS, 3.0)
    assert drive(rig, 2 * MS, np.nan) is Decision.HOLD
    assert rig.pipeline.safety.detail == "the switch's value is nan"
    assert (rig.pipeline.policy.active, rig.pipeline.policy.inferences) == ("fast", 1)
    assert drive(rig, 3 * MS, 1.5) is Decision.RUN
    assert rig.pipeline.policy.active == "fast"


def test_the_tilt_is_not_judged_by_an_old_measurement_of_another_policy(tmp_path: Path) -> None:
    own = {
        "observation": [
            {
                "tensor": "obs",
                "terms": [term("projected_gravity", input="imu")],
                "normalization": "none",
            }
        ],
        "action": [{"tensor": "act", "groups": [{"kind": "velocity", "joints": ["a", "b"]}]}],
        "last_action": "raw",
    }
    content = spec_content(
        inputs={"imu": {"type": "sensor_msgs/msg/Imu", "topic": "imu"}},
        switch={
            "first": "slow", "value": {"input": "imu", "fields": ["angular_velocity.x"]},
            "thresholds": [{"up": 1.0, "down": 1.0}],
            "state": "keep", "history": "keep", "clocks": "keep", "last_action": "own",
            "policies": {"fast": {"model": {"file": "fast.onnx"}, **own}},
        },
        **own,
    )  # fmt: skip
    rig = make_rig(tmp_path, content, Group(main=adding(1.0), fast=adding(1.0)), max_tilt_rad=0.5)

    def lean(now_ns: int, angle: float, speed: float) -> Decision:
        quaternion = [np.sin(angle / 2), 0.0, 0.0, np.cos(angle / 2)]
        rig.feed("imu", now_ns, orientation=quaternion, angular_velocity__x=[speed])
        return rig.pipeline.step(now_ns).decision

    assert lean(MS, 0.4, 0.0) is Decision.RUN  # slow measures
    assert lean(2 * MS, -0.1, 2.0) is Decision.RUN  # fast measures
    assert lean(3 * MS, 0.8, 2.0) is Decision.SAFE_STOP
    assert "46 degrees" in rig.pipeline.safety.detail
    rig.pipeline.operator.ask_to_arm(lambda accepted, _why: accepted)
    assert lean(4 * MS, 0.0, 0.0) is Decision.RUN  # the 0.8 rad that fast measured are over
