"""A model with noise, a denoising loop and the older chunk around its graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chunk_rig import bind, bound, content, measure
from core_rig import FakeModel

from policy_runner.core.chunks.denoising import Guidance, Noise, TrainedPrefix, denoise

MS = 1_000_000
DT = 50 * MS
H = 6


def flow_model(times: int = 1) -> FakeModel:
    """One step of a flow: v = tanh(x) + t + the observation."""

    def compute(inputs: dict[str, np.ndarray]) -> dict[str, Any]:
        time = inputs["t"].reshape(-1, 1) if times > 1 else inputs["t"].item()
        return {"act": np.tanh(inputs["x"][0]) + time + inputs["obs"].sum()}

    shapes = {"obs": (1, 2), "x": (1, H, 2), "t": (1, times) if times > 1 else (1,)}
    return FakeModel(shapes, {"act": (1, H, 2)}, compute)


def flow_content(**chunk: Any) -> dict[str, Any]:
    steps = {"steps": 5, "input": "x", "time": "t", "seed": 3}
    return content({"denoise": steps, **chunk})


def field(x: Any, t: Any) -> Any:
    time = np.asarray(t).reshape(-1, 1) if np.ndim(t) else t
    return (np.tanh(x) + time).astype(np.float32)


def test_the_loop_runs_around_the_graph(tmp_path: Path) -> None:
    model = flow_model()
    found, _ = bound(tmp_path, flow_content(), model)
    found.model.run()
    assert model.runs == 5
    assert [round(float(seen["t"][0]), 6) for seen in model.seen] == [1.0, 0.8, 0.6, 0.4, 0.2]
    expected = denoise(field, Noise(3, (H, 2)).next(), 5)
    decoded = found.decoder.decode()
    np.testing.assert_allclose(decoded, expected, atol=1e-6)


def test_the_older_chunk_guides_the_next_one(tmp_path: Path) -> None:
    found, _ = bound(tmp_path, flow_content(rtc={"method": "guided"}), flow_model())
    noise = Noise(3, (H, 2))
    found.model.begin(0, 0)
    found.model.run()
    first = denoise(field, noise.next(), 5)
    found.model.advance()
    found.model.begin(2 * DT, 60 * MS)  # two actions later; the delay is two actions
    found.model.run()
    prefix = Guidance(first[2:].astype(np.float64), 2, 4, "linear", 10.0)
    expected = denoise(field, noise.next(), 5, "noise_at_1", prefix)
    np.testing.assert_allclose(found.decoder.decode(), expected, atol=1e-5)


def test_a_reset_forgets_the_older_chunk_and_starts_the_noise_again(tmp_path: Path) -> None:
    """lerobot: a chunk of before a reset was merged after it."""
    found, _ = bound(tmp_path, flow_content(rtc={"method": "guided"}), flow_model())
    found.model.begin(0, 0)
    found.model.run()
    first = np.array(found.decoder.decode())
    found.model.advance()
    found.model.reset()
    found.model.begin(DT, 100 * MS)
    found.model.run()
    np.testing.assert_array_equal(found.decoder.decode(), first)


def test_a_delay_that_was_not_trained_has_no_prefix(tmp_path: Path) -> None:
    rtc = {"method": "trained", "max_delay": 2}
    found, _ = bound(tmp_path, flow_content(rtc=rtc), flow_model(H))
    noise = Noise(3, (H, 2))
    found.model.begin(0, 0)
    found.model.run()
    first = denoise(field, noise.next(), 5)
    found.model.advance()
    found.model.begin(DT, 2 * DT)
    found.model.run()
    prefix = TrainedPrefix(first[1:].astype(np.float64), 2)
    expected = denoise(field, noise.next(), 5, "noise_at_1", prefix)
    decoded = found.decoder.decode()
    np.testing.assert_allclose(decoded, expected, atol=1e-5)
    assert isinstance(decoded, np.ndarray)
    np.testing.assert_allclose(decoded[:2], first[1:3], atol=1e-6)
    found.model.advance()
    found.model.begin(2 * DT, 3 * DT)
    found.model.run()
    free = denoise(lambda x, t: field(x, t), noise.next(), 5)
    np.testing.assert_allclose(found.decoder.decode(), free, atol=1e-5)


def test_relative_leftovers_are_anchored_anew_to_the_new_state(tmp_path: Path) -> None:
    """lerobot sync.py: relative actions were anchored to a robot that had moved."""
    model = FakeModel({"obs": (1, 2), "old": (1, H, 2), "d": (1,)}, {"act": (1, H, 2)})
    given = content(
        {"previous": {"tensor": "old", "delay": "d"}}, relative_to="measured", scale=0.5
    )
    found, slot = bound(tmp_path, given, model)
    measure(slot, 1.0, 2.0)
    found.model.begin(0, 0)
    found.model.run()
    assert not model.inputs["old"].any()
    model.outputs["act"][0] = np.arange(12.0).reshape(H, 2)
    found.model.advance()
    measure(slot, 1.5, 1.0)
    found.model.begin(2 * DT, DT)
    found.model.run()
    # Absolute targets stay: raw * 0.5 + state. The state moved by +0.5 and -1.
    rows = model.inputs["old"][0]
    np.testing.assert_allclose(rows[:4], np.arange(12.0).reshape(H, 2)[2:] + [-1.0, 2.0])
    assert not rows[4:].any()
    assert model.inputs["d"].item() == 1


def test_the_leftover_that_is_shorter_than_the_delay_limits_it(tmp_path: Path) -> None:
    model = FakeModel({"obs": (1, 2), "old": (1, H, 2), "m": (1, H)}, {"act": (1, H, 2)})
    found, _ = bound(tmp_path, content({"previous": {"tensor": "old", "mask": "m"}}), model)
    found.model.begin(0, 0)
    found.model.run()
    found.model.advance()
    found.model.begin(4 * DT, 4 * DT)
    found.model.run()
    assert model.inputs["m"][0].tolist() == [1, 1, 0, 0, 0, 0]


def test_the_second_chunk_without_a_known_delay_has_no_committed_actions(tmp_path: Path) -> None:
    """strands-labs#780: guidance was called without a delay, and failed at the second chunk."""
    model = FakeModel({"obs": (1, 2), "old": (1, H, 2), "d": (1,)}, {"act": (1, H, 2)})
    older = {"tensor": "old", "delay": "d"}
    found, _ = bound(tmp_path, content({"previous": older}), model)
    model.outputs["act"][:] = 1.0
    for _ in range(2):
        found.model.run()
        found.model.advance()
    assert model.inputs["d"].item() == 0
    assert model.inputs["old"].all()


def test_another_policy_never_sees_the_older_chunk_of_the_one_before(tmp_path: Path) -> None:
    """A reload binds a new model: a leftover in the old one's numbers would be wrong."""
    model = FakeModel({"obs": (1, 2), "old": (1, H, 2)}, {"act": (1, H, 2)})
    model.outputs["act"][:] = 1.0
    given = content({"previous": {"tensor": "old"}})
    before, _ = bound(tmp_path, given, model)
    before.model.run()
    before.model.advance()
    after, _ = bound(tmp_path, given, model)
    after.model.run()
    assert not model.inputs["old"].any()


def test_noise_inputs_are_filled_for_every_run(tmp_path: Path) -> None:
    model = FakeModel({"obs": (1, 2), "n": (1, H, 2)}, {"act": (1, H, 2)})
    found, _ = bound(tmp_path, content({"noise": [{"tensor": "n", "seed": 5}]}), model)
    noise = Noise(5, (1, H, 2))
    for _ in range(2):
        found.model.run()
        np.testing.assert_array_equal(model.seen[-1]["n"], noise.next())


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        ({"denoise": {"steps": 5, "input": "y", "time": "t"}}, "chunk.denoise.input"),
        ({"denoise": {"steps": 5, "input": "t", "time": "t"}}, "input of 12 elements"),
        ({"rtc": {"method": "trained"}}, "chunk.denoise.time: expected 6 numbers, one per action"),
    ],
)
def test_tensors_that_do_not_fit(tmp_path: Path, chunk: dict[str, Any], expected: str) -> None:
    given = flow_content()
    given["chunk"].update(chunk)
    _, _, problems = bind(tmp_path, given, flow_model())
    assert expected in "\n".join(problems)
