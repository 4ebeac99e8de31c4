"""The tensor of a frame: finite check, history, clip, normalization; written in place."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import FakeModel, Rig, make_rig, spec_content, term

from policy_runner.core.safety.decision import Decision

THING = "my_msgs/msg/Thing"
HISTORY = {"stack": "frame", "order": "oldest_first", "length": 2, "fill": "repeat"}
STATISTICS = {"mean": [1.0, 0.0], "std": [2.0, 10.0]}
NORM = {"formula": "mean_std", "eps": 0.0, "eps_in_sqrt": False, "statistics": STATISTICS}


def _rig(folder: Path, model: FakeModel | None = None, size: int = 2, **tensor: Any) -> Rig:
    content = spec_content(inputs={"x": {"type": THING, "topic": "x"}})
    one = {"tensor": "obs", "terms": [term("field", input="x", field="v", size=2)]}
    content["observation"] = [{**one, "normalization": "none", **tensor}]
    return make_rig(folder, content, model, size=size)


def _step(rig: Rig, *values: float) -> list[float]:
    rig.feed("x", 1, v=values)
    with np.errstate(invalid="ignore"):
        step = rig.pipeline.step(1)
    assert step.decision is Decision.RUN, rig.pipeline.safety.detail
    return rig.model.inputs["obs"].reshape(-1).tolist()


def test_clip_normalize_clip(tmp_path: Path) -> None:
    normalization = {**NORM, "clip": [-1.5, 0.3]}
    rig = _rig(tmp_path, clip=[-3, 4], normalization=normalization)
    # 9 -> 4 -> 1.5 -> 0.3; -9 -> -3 -> -0.3
    assert _step(rig, 9, -9) == pytest.approx([0.3, -0.3])
    assert _step(rig, -9, 1) == pytest.approx([-1.5, 0.1])


def test_normalized_frame_before_the_history(tmp_path: Path) -> None:
    rig = _rig(tmp_path, size=4, history=HISTORY, normalization={**NORM, "on": "frame"})
    assert _step(rig, 3, 10) == [1, 1, 1, 1]
    assert _step(rig, 5, 20) == [1, 1, 2, 2]


def test_zeros_before_the_first_frame_are_normalized_only_when_stacked(tmp_path: Path) -> None:
    zeros = {**HISTORY, "fill": "zeros"}
    rig = _rig(tmp_path, size=4, history=zeros, normalization={**NORM, "on": "frame"})
    assert _step(rig, 3, 10) == [0, 0, 1, 1]
    stacked = {"mean": [1.0, 0.0, 1.0, 0.0], "std": [2.0, 10.0, 2.0, 10.0]}
    normalization = {**NORM, "statistics": stacked, "on": "stacked"}
    rig = _rig(tmp_path, size=4, history=zeros, normalization=normalization)
    assert _step(rig, 3, 10) == [-0.5, 0, 1, 1]


def test_in_model_means_untouched(tmp_path: Path) -> None:
    assert _step(_rig(tmp_path, normalization="in_model"), 30, 40) == [30, 40]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_clip_does_not_hide_what_is_not_finite(tmp_path: Path, value: float) -> None:
    terms = [term("field", input="x", field="v", size=2, clip=[-1, 1])]
    rig = _rig(tmp_path, terms=terms, clip=[-1, 1])
    assert _step(rig, 0.5, 0.5) == [0.5, 0.5]
    rig.feed("x", 2, v=(0.5, value))
    with np.errstate(invalid="ignore"):
        assert rig.pipeline.step(2).decision is Decision.HOLD
    assert rig.pipeline.safety.detail == f"obs: v/v[1] is {value}"
    assert rig.model.runs == 1


def test_rule_for_infinity_of_a_scan(tmp_path: Path) -> None:
    terms = [term("field", input="x", field="v", size=2, nonfinite={"inf": 30.0}, clip=[0, 10])]
    rig = _rig(tmp_path, terms=terms)
    assert _step(rig, 3, math.inf) == [3, 10]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
@pytest.mark.parametrize("shape", [(2,), (1, 2), (1, 1, 2)])
def test_types_and_ranks_of_the_tensor(
    tmp_path: Path, dtype: type[np.generic], shape: tuple[int, ...]
) -> None:
    tensor = np.zeros(shape, dtype=dtype)
    model = FakeModel({"obs": tensor}, {"act": (1, 2)})
    assert _step(_rig(tmp_path, model), 3, -4) == [3, -4]
    assert model.inputs["obs"] is tensor


def test_several_tensors(tmp_path: Path) -> None:
    content = spec_content(inputs={"x": {"type": THING, "topic": "x"}})
    one = term("field", input="x", field="v", size=2)
    content["observation"] = [
        {"tensor": "obs", "terms": [one], "normalization": "none"},
        {"tensor": "more", "terms": [{**one, "scale": 2}, one], "normalization": "none"},
    ]
    model = FakeModel({"more": (1, 4), "obs": (1, 2)}, {"act": (1, 2)})
    rig = make_rig(tmp_path, content, model)
    assert _step(rig, 1, 2) == [1, 2]
    assert model.inputs["more"].tolist() == [[2, 4, 1, 2]]
