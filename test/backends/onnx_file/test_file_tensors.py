"""Tensors read from an ONNX file are those that ONNX Runtime allocates for it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from policy_runner.backends.onnx_file.file_tensors import file_arrays
from policy_runner.backends.onnxruntime.cpu import OnnxRuntimeModel
from policy_runner.core.errors import Refusal

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted((ROOT / "models").rglob("*.onnx"))
with_onnx = pytest.mark.skipif(find_spec("onnx") is None, reason="needs onnx")


def shapes(tensors: Any) -> dict[str, tuple[Any, ...]]:
    return {name: (str(one.dtype), one.shape) for name, one in tensors.items()}


def same_as_onnxruntime(path: Path) -> None:
    model = OnnxRuntimeModel(path)
    inputs, outputs = file_arrays(path)
    assert shapes(inputs) == shapes(model.inputs)
    assert shapes(outputs) == shapes(model.outputs)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_shipped_models(path: Path) -> None:
    same_as_onnxruntime(path)


@with_onnx
@pytest.mark.parametrize("name", ["quadruped", "wheeled_camera", "recurrent"])
def test_models_with_states_images_and_an_open_batch(name: str, tmp_path: Path) -> None:
    import small_models

    getattr(small_models, name)(tmp_path)
    for path in tmp_path.glob("*.onnx"):
        same_as_onnxruntime(path)


def write(folder: Path, shape: list[Any], output: list[Any], kind: int = 1) -> Path:
    import numpy as np
    from onnx import helper, numpy_helper, save

    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "stored"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", kind, shape),
         helper.make_tensor_value_info("stored", kind, [1])],
        [helper.make_tensor_value_info("y", kind, output)],
        [numpy_helper.from_array(np.ones(1, np.float32), "stored")],
    )  # fmt: skip
    path = folder / "m.onnx"
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    return path


@with_onnx
def test_a_batch_may_be_open_anywhere_and_a_stored_input_is_none(tmp_path: Path) -> None:
    inputs, outputs = file_arrays(write(tmp_path, ["n", 3], [2, "n", 3]))
    assert shapes(inputs) == {"x": ("float32", (1, 3))}
    assert shapes(outputs) == {"y": ("float32", (2, 1, 3))}


@with_onnx
@pytest.mark.parametrize(
    ("shape", "kind", "sentence"),
    [
        ([1, "width"], 1, "input 'x': expected fixed sizes after the batch axis"),
        ([1, None], 1, "input 'x': expected fixed sizes after the batch axis"),
        ([1, 3], 8, r"got tensor\(string\)"),
    ],
)
def test_what_has_no_array_is_refused(
    tmp_path: Path, shape: list[Any], kind: int, sentence: str
) -> None:
    path = write(tmp_path, shape, [1, 3], kind)
    with pytest.raises(Refusal, match=sentence):
        file_arrays(path)


@pytest.mark.parametrize("content", [b"", b"\x3a\x05abc", b"not an onnx file"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(Refusal, match="expected an ONNX model, got"):
        file_arrays(path)
