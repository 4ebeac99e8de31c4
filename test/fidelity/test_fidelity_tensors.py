"""Tensors of every type and rank, whole or constant, by name or position; recurrent state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import MS, FakeModel, Rig, make_rig, refused, spec_content, term

from policy_runner.core.safety.decision import Decision

IMU = {"imu": {"type": "sensor_msgs/msg/Imu", "topic": "imu"}}
RATE = term("field", input="imu", field="angular_velocity")


def _step(rig: Rig) -> dict[str, np.ndarray]:
    step = rig.pipeline.step(MS)
    assert step.decision is Decision.RUN, rig.pipeline.safety.detail
    return rig.model.seen[-1]


def _tensor(name: Any, **keys: Any) -> dict[str, Any]:
    normalization = {"normalization": "none"} if "terms" in keys else {}
    return {"tensor": name, **normalization, **keys}


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float32, np.float64, np.int32, np.int64, np.bool_]
)
@pytest.mark.parametrize("shape", [(3,), (1, 3), (3, 1), (1, 1, 3), (1, 3, 1, 1)])
def test_types_and_ranks(tmp_path: Path, dtype: Any, shape: tuple[int, ...]) -> None:
    content = spec_content(inputs=IMU, observation=[_tensor("obs", terms=[RATE])])
    model = FakeModel({"obs": np.zeros(shape, dtype=dtype)}, {"act": (1, 2)})
    rig = make_rig(tmp_path, content, model)
    rig.feed("imu", MS, angular_velocity=[2.0, 0.0, 7.0])
    seen = _step(rig)["obs"]
    assert (seen.dtype, seen.shape) == (np.dtype(dtype), shape)
    expected = [True, False, True] if dtype is np.bool_ else [2, 0, 7]
    assert seen.ravel().tolist() == expected


def test_several_tensors_of_which_one_is_whole_and_two_are_constant(tmp_path: Path) -> None:
    content = spec_content(
        inputs=IMU,
        observation=[
            _tensor("obs", terms=[RATE, term("constant", value=[5.0])]),
            _tensor("step", whole=term("step_counter")),
            _tensor("mask", constant=[1, 0, 1, 1]),
            _tensor("adapt", constant=0.5),
        ],
    )
    model = FakeModel(
        {
            "obs": (4,),
            "step": np.zeros((1, 1), np.int64),
            "mask": np.zeros((2, 2), np.bool_),
            "adapt": (1, 3),
        },
        {"act": (1, 2)},
    )
    rig = make_rig(tmp_path, content, model)
    rig.feed("imu", MS, angular_velocity=[1.0, 2.0, 3.0])
    for k in range(3):
        seen = _step(rig)
        assert seen["obs"].tolist() == [1, 2, 3, 5]
        assert seen["step"].tolist() == [[k]]
        assert seen["mask"].tolist() == [[True, False], [True, True]]
        assert seen["adapt"].tolist() == [[0.5, 0.5, 0.5]]


def test_by_position(tmp_path: Path) -> None:
    content = spec_content(
        inputs=IMU,
        observation=[_tensor(1, terms=[RATE]), _tensor(0, constant=3.0)],
        action=[{"tensor": 1, "groups": [{"kind": "velocity", "joints": ["a", "b"]}]}],
        ignored_outputs=[0, "value"],
    )
    model = FakeModel(
        {"x": (1, 1), "y": (1, 3)},
        {"actions": (1, 2), "actions#1": (1, 2), "value": (1,)},
        lambda inputs: {"actions": 1.0, "actions#1": 2.0},
    )
    rig = make_rig(tmp_path, content, model)
    rig.feed("imu", MS, angular_velocity=[1.0, 2.0, 3.0])
    step = rig.pipeline.step(MS)
    assert step.command is not None
    assert step.command.tolist() == [2, 2]
    assert model.inputs["y"].tolist() == [[1, 2, 3]]
    assert model.inputs["x"].tolist() == [[3]]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"observation": [_tensor(2, terms=[RATE])]}, "(obs), got position 2"),
        ({"observation": [_tensor("obs", terms=[RATE]), _tensor(0, constant=1.0)]},
         "observation: expected every tensor once, got 'obs' again"),
        ({"ignored_outputs": [0]}, "action: expected every tensor once, got 'act' again"),
        ({"observation": [_tensor("obs", constant=[1.0])]},
         "observation[0].constant: expected one number, or 3, got 1"),
        ({"observation": [_tensor("obs", whole=term("first_step"))]},
         "observation[0].whole: expected terms that add up to the 3 elements of 'obs', got 1"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    content = spec_content(inputs=IMU, observation=[_tensor("obs", terms=[RATE])])
    content.update(changes)
    sentences = refused(make_rig, tmp_path, content, FakeModel({"obs": (1, 3)}, {"act": (1, 2)}))
    assert expected in "\n".join(sentences)


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        ({"tensor": "obs"}, "expected one of `terms`, `whole`, `constant`, got none"),
        (_tensor("obs", terms=[RATE], constant=1.0), "got terms and constant"),
        (_tensor("obs", whole=RATE, constant=1.0), "got whole and constant"),
        ({"tensor": "obs", "terms": [RATE]}, "normalization: expected this key: none, in_model"),
    ],
)
def test_what_a_tensor_must_say(tmp_path: Path, tensor: dict[str, Any], expected: str) -> None:
    content = spec_content(inputs=IMU, observation=[tensor])
    sentences = refused(make_rig, tmp_path, content, FakeModel({"obs": (1, 3)}, {"act": (1, 2)}))
    assert expected in "\n".join(sentences)


def _write_safetensors(path: Path, arrays: dict[str, np.ndarray]) -> None:
    header, data = {}, b""
    for name, array in arrays.items():
        raw = array.tobytes()
        kind = {"float32": "F32", "float64": "F64", "float16": "F16", "int64": "I64"}
        header[name] = {
            "dtype": kind[str(array.dtype)],
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header | {"__metadata__": {"format": "pt"}}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def _recurrent(**state: Any) -> dict[str, Any]:
    return spec_content(
        inputs=IMU,
        observation=[_tensor("obs", terms=[RATE])],
        state=[{"input": "h", "output": "h_out", **state}],
    )


def _counting() -> FakeModel:
    def compute(inputs: dict[str, np.ndarray]) -> dict[str, Any]:
        return {"act": [[inputs["h"].sum(), 0.0]], "h_out": inputs["h"] + 1}

    return FakeModel({"obs": (1, 3), "h": (1, 1, 2)}, {"act": (1, 2), "h_out": (1, 1, 2)}, compute)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_state_from_a_named_tensor(tmp_path: Path, suffix: str) -> None:
    initial = np.array([[[3.0, 4.0]]], dtype=np.float32)
    if suffix == ".npz":
        np.savez(tmp_path / "initial.npz", **{"policy/hidden": initial})
    else:
        _write_safetensors(tmp_path / "initial.safetensors", {"policy/hidden": initial})
    stored = {"file": f"initial{suffix}", "key": "policy/hidden"}
    rig = make_rig(tmp_path, _recurrent(initial=stored), _counting())
    rig.feed("imu", MS, angular_velocity=[0.0, 0.0, 0.0])
    assert [_step(rig)["h"].sum() for _ in range(3)] == [7, 9, 11]
    rig.pipeline.reset()
    assert _step(rig)["h"].tolist() == [[[3, 4]]]


@pytest.mark.parametrize(
    ("array", "key", "expected"),
    [
        (np.zeros(3), "h", "h: expected 2 numbers, got 3"),
        (np.zeros(2), "hh", "hh: expected one of h, got none; did you mean 'h'?"),
        (np.array([0.0, np.nan]), "h", "h: expected finite numbers, got others"),
    ],
)
def test_a_start_that_does_not_fit(
    tmp_path: Path, array: np.ndarray, key: str, expected: str
) -> None:
    np.savez(tmp_path / "initial.npz", h=array)
    stored = {"file": "initial.npz", "key": key}
    sentences = refused(make_rig, tmp_path, _recurrent(initial=stored), _counting())
    assert sentences == [f"{tmp_path / 'initial.npz'}: {expected}"]


def test_a_constant_from_a_file(tmp_path: Path) -> None:
    _write_safetensors(tmp_path / "c.safetensors", {"embedding": np.arange(3, dtype=np.float16)})
    stored = {"file": "c.safetensors", "key": "embedding"}
    content = spec_content(inputs={}, observation=[_tensor("obs", constant=stored)])
    rig = make_rig(tmp_path, content, FakeModel({"obs": (1, 3)}, {"act": (1, 2)}))
    assert _step(rig)["obs"].tolist() == [[0, 1, 2]]


def test_a_tensor_outside_the_spec_s_folder(tmp_path: Path) -> None:
    stored = {"file": "../c.npz", "key": "x"}
    content = spec_content(inputs={}, observation=[_tensor("obs", constant=stored)])
    (sentence,) = refused(make_rig, tmp_path, content, FakeModel({"obs": (1, 3)}, {"act": (1, 2)}))
    assert "constant.file: expected a file inside the spec's folder, got ../c.npz" in sentence


@pytest.mark.parametrize("damage", ["header", "bytes", "type"])
def test_damaged_safetensors(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "c.safetensors"
    _write_safetensors(path, {"x": np.zeros(3, np.float32)})
    content = path.read_bytes()
    path.write_bytes(
        {
            "header": content[:20],
            "bytes": content[:-4],
            "type": content.replace(b'"F32"', b'"Q32"'),
        }[damage]
    )
    stored = {"file": "c.safetensors", "key": "x"}
    spec = spec_content(inputs={}, observation=[_tensor("obs", constant=stored)])
    (sentence,) = refused(make_rig, tmp_path, spec, FakeModel({"obs": (1, 3)}, {"act": (1, 2)}))
    assert sentence.startswith(f"{path}: expected a .safetensors file of numbers, got ")
