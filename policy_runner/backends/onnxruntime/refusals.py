"""Says in our words why ONNX Runtime does not take a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from policy_runner.backends.onnx_file.graph import unshaped_tensors
from policy_runner.core.errors import Refusal, refuse

_IR = re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)")
_OPSET = re.compile(r"Opset (\d+) is under development.*?(?:till opset (\d+)|$)")


def explained(path: Path, text: str) -> Refusal | None:
    """Return the refusal of a model that is too new for this ONNX Runtime; None for other errors.

    Args:
        path: the ONNX file.
        text: of the error.
    """
    if version := _IR.search(text):
        expected = f"an ONNX file of IR version {version[2]} or older"
        older = f"export it with IR version {version[2]}, or install a newer ONNX Runtime"
        return refuse(str(path), "ir_version", expected, version[1], older)
    if version := _OPSET.search(text):
        limit = f" ({version[2]} or older)" if version[2] else ""
        expected = f"an opset that the installed ONNX Runtime knows{limit}"
        older = "export it with an older opset_version, or install a newer ONNX Runtime"
        return refuse(str(path), "opset", expected, version[1], older)
    return None


def not_loaded(path: Path, error: Exception, remedy: str) -> Refusal:
    """Return the refusal of a model that ONNX Runtime does not load.

    Args:
        path: the ONNX file.
        error: what ONNX Runtime raised.
        remedy: what to do if the reason is not known here.
    """
    text = " ".join(str(error).split())
    expected = "an ONNX model that ONNX Runtime can load"
    return explained(path, text) or refuse(str(path), "", expected, text, remedy)


def check_shapes(path: Path, tensors: Sequence[Any]) -> None:
    """Refuse a model with tensors that state no shape: no array can be made for them.

    Args:
        path: the ONNX file.
        tensors: inputs or outputs of its session; ONNX Runtime may have found their shapes.

    Raises:
        Refusal: a tensor has no shape; it lists all of them.
    """
    empty = {one.name for one in tensors if not one.shape}  # a number alone, or nothing stated
    names = [name for name in (unshaped_tensors(path) if empty else []) if name in empty]
    if names:
        remedy = "export it with shapes, or add them with onnx.shape_inference"
        expected = "a shape for every input and output"
        raise refuse(str(path), "", expected, f"none for {', '.join(names)}", remedy)
