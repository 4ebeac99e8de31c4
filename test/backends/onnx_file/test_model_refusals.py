"""Files that are not a model, or not the expected one, are refused with the right sentence."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from policy_runner.backends.load import load_model
from policy_runner.core.errors import Refusal

COPY_AGAIN = "export the model again, or copy it again with its .data file"


def _refused(path: Path, sha256: str | None = None, backend: str = "onnxruntime") -> list[str]:
    with pytest.raises(Refusal) as caught:
        load_model(backend, path, sha256, path.parent / "policy.yaml")
    sentences = [str(problem) for problem in caught.value.problems]
    assert not any("\n" in sentence for sentence in sentences)
    return sentences


def _value(name: str, shape: Any, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(inputs: list[Any], outputs: list[Any], nodes: list[Any], weights: Any = ()) -> Any:
    graph = helper.make_graph(nodes, "small", inputs, outputs, list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _dense() -> Any:
    weight = numpy_helper.from_array(np.ones((64, 32), np.float32), "w")
    node = helper.make_node("MatMul", ["obs", "w"], ["act"])
    return _model([_value("obs", [1, 64])], [_value("act", [1, 32])], [node], [weight])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A valid model file."""
    path = tmp_path / "policy.onnx"
    onnx.save(_dense(), path)
    return path


def test_good_one_loads(path: Path) -> None:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    for backend in ("auto", "onnxruntime"):
        assert list(load_model(backend, path, sha256, path).outputs) == ["act"]


def test_missing(tmp_path: Path) -> None:
    path = tmp_path / "policy.onnx"
    assert _refused(path) == [
        f"{tmp_path / 'policy.yaml'}: model.file: expected an ONNX file, got no file {path}"
    ]
    path.mkdir()
    assert "got no file" in _refused(path)[0]


def test_lfs_pointer(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert _refused(path) == [
        f"{path}: expected an ONNX model, got a Git LFS pointer to a file of 9 bytes; "
        "run `git lfs pull` in the repository that it is from"
    ]


def test_empty(path: Path) -> None:
    path.write_bytes(b"")
    assert _refused(path) == [f"{path}: expected an ONNX model, got an empty file"]


def test_other_sha256(path: Path) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    assert _refused(path, "0" * 64) == [
        f"{path}: sha256: expected {'0' * 64}, got {found}; "
        "the model is not the one that the spec was written for"
    ]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    (sentence,) = _refused(path)
    assert sentence.startswith(f"{path}: expected an ONNX model that ONNX Runtime can load, got ")
    assert sentence.endswith(COPY_AGAIN)


@pytest.mark.parametrize("content", [b"hello", b"\x00" * 1000, b"PK\x03\x04zip"])
def test_something_else(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert "expected an ONNX model" in _refused(path)[0]


def test_missing_external_data(path: Path) -> None:
    onnx.save(
        _dense(), path, save_as_external_data=True, location="policy.onnx.data", size_threshold=0
    )
    assert list(load_model("onnxruntime", path, None, path).outputs) == ["act"]
    (path.parent / "policy.onnx.data").unlink()
    (sentence,) = _refused(path)
    assert sentence == (
        f"{path}: external data: expected the file 'policy.onnx.data' next to it, got no such "
        "file; copy it from the folder where the model was exported"
    )


def test_truncated_external_data(path: Path) -> None:
    onnx.save(
        _dense(), path, save_as_external_data=True, location="policy.onnx.data", size_threshold=0
    )
    data = path.parent / "policy.onnx.data"
    data.write_bytes(data.read_bytes()[:100])
    assert "expected an ONNX model" in _refused(path)[0]


def test_shapes_and_types_that_no_tick_can_fill(path: Path) -> None:
    nodes = [
        helper.make_node("Identity", ["text"], ["text_out"]),
        helper.make_node("Identity", ["image"], ["image_out"]),
    ]
    text, free = TensorProto.STRING, ["batch", 3, "height", "width"]
    inputs = [_value("text", [1], text), _value("image", free)]
    onnx.save(
        _model(inputs, [_value("text_out", [1], text), _value("image_out", free)], nodes), path
    )
    found = _refused(path)
    assert [sentence.split(": expected")[0] for sentence in found] == [
        f"{path}: input 'text'",
        f"{path}: input 'image'",
    ]
    assert "expected one of tensor(float), " in found[0]
    assert found[0].endswith("got tensor(string)")
    assert "expected fixed sizes after the batch axis, got" in found[1]


def test_no_such_backend(path: Path) -> None:
    assert _refused(path, backend="tensorflow") == [
        "parameter backend: expected one of auto, onnxruntime, tensorrt, remote, got tensorflow"
    ]
