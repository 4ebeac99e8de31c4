"""Writes a model in one file, or with its weights next to it: protobuf ends at 2 GiB.

ONNX Runtime and the checker read a larger model from a path alone.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from policy_runner.backends.onnx_file.check import data_files

MOST_IN_ONE_FILE = (2 << 30) - (64 << 20)  # the rest is for the graph and the metadata
_SMALLEST_OUTSIDE = 1024  # bytes: shapes and flags stay in the graph, where checks read them
_SLOW = 512 << 20  # bytes
_ALIGNED = 4096  # bytes: what the ONNX documentation wants for a mapped file


def weights_size(model: Any) -> int:
    """Bytes of the weights in an onnx.ModelProto, without those that always stay in it."""
    sizes = (len(one.raw_data) for one in model.graph.initializer)
    return sum(size for size in sizes if size >= _SMALLEST_OUTSIDE)


def stored_size(path: Path) -> int:
    """Bytes of a model's file and of the weights next to it."""
    return sum(one.stat().st_size for one in (path, *data_files(path)))


def is_slow(path: Path) -> bool:
    """Whether one inference of a model takes a tenth of a second or more, by its size."""
    return stored_size(path) > _SLOW


def is_large(model: Any) -> bool:
    """Whether an onnx.ModelProto is too large for one file."""
    return weights_size(model) > MOST_IN_ONE_FILE


def save_model(model: Any, path: Path, most: int | None = None) -> None:
    """Write an onnx.ModelProto: one file, or with `path`.data where it is larger than `most`.

    The same model gives the same bytes. The weights of a larger model leave `model`, so that a
    second call writes the graph alone, to the same folder.

    Args:
        most: largest size of the weights in the file [bytes]; None: `MOST_IN_ONE_FILE`.
    """
    if weights_size(model) > (MOST_IN_ONE_FILE if most is None else most):
        _move_weights(model, path.with_name(f"{path.name}.data"))
    path.write_bytes(model.SerializeToString(deterministic=True))


def _move_weights(model: Any, data: Path) -> None:
    import onnx

    with data.open("wb") as file:
        for one in model.graph.initializer:
            size = len(one.raw_data)
            if size < _SMALLEST_OUTSIDE:
                continue
            file.write(bytes(-file.tell() % _ALIGNED))
            place = {"location": data.name, "offset": file.tell(), "length": size}
            file.write(one.raw_data)
            one.ClearField("raw_data")
            one.data_location = onnx.TensorProto.EXTERNAL
            del one.external_data[:]
            for key, value in place.items():
                entry = one.external_data.add()
                entry.key, entry.value = key, str(value)


@contextlib.contextmanager
def readable(model: Any, most: int | None = None) -> Iterator[bytes | str]:
    """What ONNX Runtime and the checker read: the model's bytes, or the path of a larger one.

    The path is a temporary file next to its weights. Afterwards `model` has its weights again.

    Args:
        most: see `save_model`.
    """
    import onnx

    if weights_size(model) <= (MOST_IN_ONE_FILE if most is None else most):
        yield model.SerializeToString()
        return
    with tempfile.TemporaryDirectory(prefix="policy_runner-export-") as folder:
        path = Path(folder) / "model.onnx"
        save_model(model, path, most)
        yield str(path)
        onnx.load_external_data_for_model(model, folder)
    for one in model.graph.initializer:
        del one.external_data[:]
