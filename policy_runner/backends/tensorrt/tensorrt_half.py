"""fp16 where TensorRT takes types from the model alone (11 and newer)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from policy_runner.core.errors import refuse


def has_half(tensorrt: Any, network: Any) -> bool:
    """Whether some operation of a network gives float16."""
    for k in range(network.num_layers):
        layer = network.get_layer(k)
        for j in range(layer.num_outputs):
            output = layer.get_output(j)
            if output is not None and output.dtype == tensorrt.DataType.HALF:
                return True
    return False


def converted_to_half(path: Path) -> bytes:
    """The model with float16 arithmetic, its inputs and outputs as they are.

    Raises:
        Refusal: the packages that convert are not installed, or convert it wrongly.
    """
    needed = ("onnx", "onnxconverter_common")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise refuse(
            str(path), "precision", "a float16 model, or onnxconverter-common to convert it with",
            f"no {' and no '.join(missing)}",
            "pip install onnx onnxconverter-common, or export the model in float16 and set "
            "precision: as_exported",
        )  # fmt: skip
    import onnx
    from onnxconverter_common import float16

    model = float16.convert_float_to_float16(onnx.load(str(path)), keep_io_types=True)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # its own pybind type; a Cast inside the model is what it gets wrong
        raise refuse(
            str(path), "precision", "a model that onnxconverter-common can convert to float16",
            " ".join(str(error).split()),
            "export the model in float16 and set precision: as_exported",
        ) from error  # fmt: skip
    return bytes(model.SerializeToString())
