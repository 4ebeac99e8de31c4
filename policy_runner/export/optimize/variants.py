"""Makes the variants of a model: onnxslim, fp16, and INT8 in three ways.

ONNX Runtime's own optimized graph is not among them: it holds nodes that were chosen for the CPU
at hand (`com.microsoft.nchwc`), so it belongs to no other machine.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.core.errors import Refusal, refuse
from policy_runner.core.model import Buffer
from policy_runner.export.graph.onnx_checks import opset_of
from policy_runner.export.graph.stored_model import is_large, save_model

FP16_LARGEST, FP16_SMALLEST = 65504.0, 5.96e-8
PER_CHANNEL_OPSET = 13
PLAIN, DATA = "plain.onnx", "plain.onnx.data"
Fed = Sequence[Mapping[str, Buffer]]
Make = Callable[[Path, Path, Fed], None]


def slim(source: Path, target: Path, _fed: Fed) -> None:
    """Merge and fold nodes by onnxslim; the same numbers.

    Raises:
        Refusal: onnxslim is not installed, or it changed inputs or outputs.
    """
    if find_spec("onnxslim") is None:
        remedy = "pip install onnxslim"
        raise refuse(str(source), "onnxslim", "the package onnxslim", "none", remedy)
    import onnx
    import onnxslim

    model = onnx.load(source)  # onnxslim changes the model that it is given
    before = _interface(model)
    props = [(one.key, one.value) for one in model.metadata_props]
    found = onnxslim.slim(onnx.load(source))
    if found is None or _interface(found) != before:
        raise refuse(str(source), "onnxslim", "the same inputs and outputs", "others")
    _keep_metadata(found, props)
    save_model(found, target)


def fp16(source: Path, target: Path, _fed: Fed) -> None:
    """Weights and arithmetic in float16, inputs and outputs in float32.

    Raises:
        Refusal: a stored number that float16 does not hold; the converter would cut it.
    """
    import onnx
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(source)
    for stored in model.graph.initializer:
        if stored.data_type == onnx.TensorProto.FLOAT:
            largest = float(np.max(np.abs(onnx.numpy_helper.to_array(stored)), initial=0.0))
            if largest > FP16_LARGEST:
                expected = f"numbers up to {FP16_LARGEST:g}, which float16 holds"
                raise refuse(str(source), f"'{stored.name}'", expected, f"{largest:g}")
    props = [(one.key, one.value) for one in model.metadata_props]
    found = convert_float_to_float16(
        model, keep_io_types=True, min_positive_val=FP16_SMALLEST, max_finite_val=FP16_LARGEST,
        # It passes the model through protobuf, which ends at 2 GiB. The exporter wrote the shapes.
        disable_shape_infer=is_large(model),
    )  # fmt: skip
    sorting = ONNXModel(found)
    sorting.topological_sort()  # the converter leaves its casts unsorted
    _keep_metadata(sorting.model, props)
    save_model(sorting.model, target)


def int8_dynamic(source: Path, target: Path, _fed: Fed) -> None:
    """Weights in INT8, activations quantized while it runs: for ONNX Runtime on a CPU only."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # ONNX Runtime transposes weights, and then contradicts the shapes that torch's exporter has
    # written for them: "Inferred shape and existing shape differ in dimension 0: (12) vs (64)".
    with _copied(source, target, shapes=False) as plain:
        quantize_dynamic(str(plain), str(target), weight_type=QuantType.QInt8)


def int8_static(source: Path, target: Path, fed: Fed) -> None:
    """Weights and activations in INT8 by calibration, as ONNX Runtime likes it."""
    _static(source, target, fed, {}, per_channel=False)


def int8_tensorrt(source: Path, target: Path, fed: Fed) -> None:
    """The same with the settings that TensorRT takes: symmetric, per channel, float bias.

    Raises:
        Refusal: an opset without a scale for each channel; ONNX Runtime writes an invalid model.
    """
    import onnx

    opset = opset_of(onnx.load(source, load_external_data=False))
    if opset < PER_CHANNEL_OPSET:
        expected = f"{PER_CHANNEL_OPSET} or newer, which has a scale for each channel"
        raise refuse(str(source), "opset", expected, f"{opset}", "export the network again")
    options = {
        "ActivationSymmetric": True, "WeightSymmetric": True, "AddQDQPairToWeight": True,
        "DedicatedQDQPair": True, "QuantizeBias": False,
    }  # fmt: skip
    _static(source, target, fed, options, per_channel=True)


VARIANTS: dict[str, Make] = {
    "onnxslim": slim,
    "fp16": fp16,
    "int8-dynamic": int8_dynamic,
    "int8-static": int8_static,
    "int8-tensorrt": int8_tensorrt,
}


def make(name: str, source: Path, target: Path, fed: Fed) -> None:
    """Write the variant of a model.

    Args:
        fed: every input of the model, for calibration, one mapping for each inference.

    Raises:
        Refusal: it cannot be made, with the reason.
    """
    try:
        with _quiet():
            VARIANTS[name](source, target, fed)
    except Refusal:
        raise
    except Exception as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise refuse(str(source), name, "a model that can be converted", text) from error


def _static(
    source: Path, target: Path, fed: Fed, options: dict[str, bool], per_channel: bool
) -> None:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            self._left = iter(fed)

        def get_next(self) -> Any:
            one = next(self._left, None)
            return None if one is None else dict(one)

    with _copied(source, target) as plain:
        quantize_static(
            str(plain), str(target), Reader(), quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, per_channel=per_channel,
            extra_options=options, use_external_data_format=plain.with_name(DATA).exists(),
        )  # fmt: skip


@contextlib.contextmanager
def _copied(source: Path, target: Path, shapes: bool = True) -> Iterator[Path]:
    """A copy of the model for ONNX Runtime's quantization, which writes next to what it reads.

    Args:
        shapes: keep the shapes inside the graph.
    """
    import onnx

    with tempfile.TemporaryDirectory(prefix="plain-", dir=target.parent) as place:
        plain = Path(place) / PLAIN
        model = onnx.load(source)
        if not shapes:
            del model.graph.value_info[:]
        save_model(model, plain)
        del model
        yield plain


def _interface(model: Any) -> list[tuple[str, bytes]]:
    """Names and types of every input and output."""
    values = (*model.graph.input, *model.graph.output)
    return [(one.name, one.type.SerializeToString(deterministic=True)) for one in values]


def _keep_metadata(model: Any, props: Sequence[tuple[str, str]]) -> None:
    del model.metadata_props[:]
    for key, value in props:
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the tools' log lines and warnings, which name no culprit."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(level)
