"""Commands of a model in a lower precision are compared with those on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from gpu_for_children import fake_gpu as fake_gpu

from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.onnx_file.embedded_normalizer import embedded_statistics
from policy_runner.backends.onnxruntime.cpu import OnnxRuntimeModel
from policy_runner.backends.precision_check import SEQUENCE, check, compare_with_cpu
from policy_runner.backends.sample_inputs import FURTHEST, generated, recorded
from policy_runner.core.errors import Refusal
from policy_runner.core.spec import SpecFile, read_spec

MEAN, STD = np.array([0.0, 5.0, -1.0]), np.array([1.0, 0.1, 20.0])
SCALE = 0.25


def write(folder: Path, inside: bool = False, half: bool = False, **changes: Any) -> SpecFile:
    """Write a policy with a state: action = W (obs, state), next state = 0.9 state + sum(obs).

    Args:
        folder: for the files.
        inside: the model begins with (obs - MEAN) / STD.
        half: the weights are rounded to float16.
        changes: of the spec.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).standard_normal((4, 2)).astype(np.float32)
    if half:
        weights = weights.astype(np.float16).astype(np.float32)
    stored = {"weights": weights, "keep": np.array([[0.9]]), "ones": np.ones((3, 1)),
              "mean": MEAN, "std": STD}  # fmt: skip
    nodes = [
        helper.make_node("MatMul", ["x", "ones"], ["summed"]),
        helper.make_node("Mul", ["state", "keep"], ["kept"]),
        helper.make_node("Add", ["kept", "summed"], ["next_state"]),
        helper.make_node("Concat", ["x", "state"], ["both"], axis=1),
        helper.make_node("MatMul", ["both", "weights"], ["actions"]),
    ]
    first = [
        helper.make_node("Sub", ["obs", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["x"]),
    ]
    nodes = (first if inside else [helper.make_node("Identity", ["obs"], ["x"])]) + nodes

    def tensor(name: str, size: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])

    graph = helper.make_graph(
        nodes, "toy", [tensor("obs", 3), tensor("state", 1)],
        [tensor("actions", 2), tensor("next_state", 1)],
        [numpy_helper.from_array(np.asarray(v, dtype=np.float32), n) for n, v in stored.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(exist_ok=True)
    onnx.save(model, str(folder / "toy.onnx"))
    spec = {
        "schema": "policy_runner/1",
        "name": "toy",
        "model": {"file": "toy.onnx"},
        "control_dt": 0.02,
        "joint_names": ["left", "right"],
        "inputs": {"imu": {"type": "sensor_msgs/msg/Imu", "topic": "imu"}},
        "observation": [
            {
                "tensor": "obs",
                "terms": [{"term": "field", "input": "imu", "field": "angular_velocity"}],
                "normalization": "in_model" if inside else "none",
            }
        ],
        "state": [{"input": "state", "output": "next_state"}],
        "action": [
            {
                "tensor": "actions",
                "groups": [{"kind": "position", "joints": ["left", "right"], "scale": SCALE}],
            }
        ],
        "last_action": "raw",
        **changes,
    }
    (folder / "policy.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    return read_spec(folder)


class Altered(OnnxRuntimeModel):
    """The model on the CPU, with an error added after every run."""

    def __init__(self, path: Path, alter: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__(path)
        self._alter = alter

    def run(self) -> None:
        super().run()
        self._alter(self.outputs)


def model_of(spec_file: SpecFile) -> Path:
    return spec_file.next_to(spec_file.spec.model.file, "model.file")


def choice(**options: Any) -> BackendChoice:
    names = {f"precision_check.{name}": value for name, value in options.items()}
    return BackendChoice(precision="fp16", options=names)


def test_the_same_model_differs_by_nothing(tmp_path: Path) -> None:
    spec_file = write(tmp_path)
    path = model_of(spec_file)
    model = OnnxRuntimeModel(path)
    found = check(model, choice(), path, spec_file.path)
    assert (found.largest, found.samples, found.observations) == (0.0, 64, "generated")
    assert all(not array.any() for array in (*model.inputs.values(), *model.outputs.values()))


def test_the_difference_is_in_units_of_the_command(tmp_path: Path) -> None:
    spec_file = write(tmp_path)
    path = model_of(spec_file)

    def alter(outputs: Mapping[str, Any]) -> None:
        outputs["actions"][0, 1] += 0.1

    found = compare_with_cpu(Altered(path, alter), choice(), spec_file)
    assert found.largest == pytest.approx(0.1 * SCALE, rel=1e-4)
    assert found.element == "right (position)"
    assert found.rms == pytest.approx(0.1 * SCALE / np.sqrt(2), rel=1e-4)
    assert not found.accepted
    with pytest.raises(
        Refusal,
        match=r"toy.onnx: precision check: expected actions within 0.02 .*got 0.025 at right "
        r"\(position\) in 64 generated observations; run it in fp32",
    ):
        check(Altered(path, alter), choice(), path, spec_file.path)
    check(Altered(path, alter), choice(tolerance=0.03), path, spec_file.path)


def test_numbers_that_are_not_finite_are_never_within_a_tolerance(tmp_path: Path) -> None:
    spec_file = write(tmp_path)
    path = model_of(spec_file)

    def alter(outputs: Mapping[str, Any]) -> None:
        outputs["actions"][0, 0] = np.inf  # as fp16 for 65 520

    with pytest.raises(Refusal, match="got inf at left"):
        check(Altered(path, alter), choice(tolerance=1e9), path, spec_file.path)


def test_an_error_that_only_the_state_carries_is_found(tmp_path: Path) -> None:
    spec_file = write(tmp_path)
    path = model_of(spec_file)

    def alter(outputs: Mapping[str, Any]) -> None:
        outputs["next_state"] += 0.05  # does not change the action of the same inference

    model = Altered(path, alter)
    assert compare_with_cpu(model, choice(samples=1), spec_file).largest == 0.0
    two = compare_with_cpu(model, choice(samples=2), spec_file).largest
    many = compare_with_cpu(model, choice(samples=SEQUENCE), spec_file).largest
    assert 0.0 < two < many
    # The state is reset after each sequence, so an error does not grow without limit.
    again = compare_with_cpu(model, choice(samples=4 * SEQUENCE), spec_file).largest
    assert again == pytest.approx(many, rel=1e-3)


def test_weights_in_half_precision_pass_and_are_not_the_same(tmp_path: Path) -> None:
    spec_file = write(tmp_path / "single")
    path = model_of(spec_file)
    half = OnnxRuntimeModel(model_of(write(tmp_path / "half", half=True)))
    found = check(half, choice(), path, spec_file.path)
    assert 1e-6 < found.largest < 0.01


def test_generated_observations_are_plausible_and_always_the_same(tmp_path: Path) -> None:
    spec_file = write(tmp_path)
    tensors = {"obs": np.zeros((1, 3), np.float32)}
    samples = generated(tensors, spec_file, model_of(spec_file), 2000)
    again = generated(tensors, spec_file, model_of(spec_file), 2000)
    values = np.concatenate([sample["obs"] for sample in samples])
    assert np.array_equal(values, np.concatenate([sample["obs"] for sample in again]))
    assert values.dtype == np.float32
    assert np.abs(values).max() <= FURTHEST
    assert np.allclose(values.mean(axis=0), 0.0, atol=0.3)
    assert np.allclose(values.std(axis=0), 1.0, atol=0.2)
    steps = np.abs(np.diff(values, axis=0)).mean()
    assert steps < 0.5  # successive samples are similar, as on a robot


def test_a_normalizer_inside_gets_what_it_was_made_for(tmp_path: Path) -> None:
    spec_file = write(tmp_path, inside=True)
    path = model_of(spec_file)
    mean, std = embedded_statistics(path)["obs"]
    assert np.allclose(mean, MEAN)
    assert np.allclose(std, STD)
    samples = generated({"obs": np.zeros((1, 3), np.float32)}, spec_file, path, 2000)
    values = np.concatenate([sample["obs"] for sample in samples])
    normalized = (values - MEAN) / STD
    assert np.allclose(normalized.std(axis=0), 1.0, atol=0.2)
    assert np.abs(normalized).max() <= FURTHEST + 1e-4
    assert embedded_statistics(model_of(write(tmp_path / "without"))) == {}


def test_recorded_observations_are_taken_as_they_are(tmp_path: Path) -> None:
    spec_file = write(tmp_path)
    path = model_of(spec_file)
    file = tmp_path / "recorded.npz"
    rows = np.arange(15, dtype=np.float64).reshape(5, 1, 3)
    np.savez(file, in__obs=rows)
    tensors = {"obs": np.zeros((1, 3), np.float32)}
    assert [sample["obs"].tolist() for sample in recorded(file, tensors, 2)] == rows[:2].tolist()
    options = choice(observations=str(file))
    found = compare_with_cpu(OnnxRuntimeModel(path), options, spec_file)
    assert found.samples == 5
    assert found.observations == f"recorded ({file})"


def test_what_replay_writes_is_taken_without_ticks_that_did_not_infer(tmp_path: Path) -> None:
    file = tmp_path / "replayed.npz"
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    rows[1] = np.nan
    np.savez(file, **{"observation/obs": rows, "t": np.arange(4)})
    samples = recorded(file, {"obs": np.zeros((1, 3), np.float32)}, 10)
    assert [sample["obs"][0, 0] for sample in samples] == [0.0, 6.0, 9.0]


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"obs": np.zeros((5, 4))}, r"obs: expected \[N, 3\], got \[5, 4\]"),
        ({"other": np.zeros((5, 3))}, "expected samples of the tensor 'obs', got other"),
        ({"obs": np.full((5, 3), np.nan)}, "expected samples that are finite numbers, got none"),
        (None, "expected an .npz of recorded observations"),
    ],
)
def test_recorded_observations_that_do_not_fit_are_refused(
    tmp_path: Path, arrays: dict[str, Any] | None, says: str
) -> None:
    file = tmp_path / "recorded.npz"
    if arrays is None:
        file.write_text("no zip")
    else:
        np.savez(file, **arrays)
    with pytest.raises(Refusal, match=says):
        recorded(file, {"obs": np.zeros((1, 3), np.float32)}, 10)


def test_states_that_stay_on_the_gpu_are_what_is_compared(
    tmp_path: Path, fake_gpu: pytest.MonkeyPatch
) -> None:
    from policy_runner.backends.tensorrt.builder import build_engine
    from policy_runner.backends.tensorrt.model import model_of_plan

    spec_file = write(tmp_path / "policy")
    path = model_of(spec_file)
    model = model_of_plan(choice(), path, "", build_engine(path, "fp32", {}, lambda _line: None))
    model.warm_up()
    try:
        copied = compare_with_cpu(model, choice(), spec_file)
        assert "states" not in model.facts
        kept = compare_with_cpu(model, choice(), spec_file, kept=True)
        assert model.facts["states"] == "on the GPU"
    finally:
        model.close()
    assert copied.largest < 1e-5
    assert kept.largest < 1e-5
