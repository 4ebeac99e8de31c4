"""Stored statistics of a normalizer: read from .npz (no pickle), .json, or inline."""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from policy_runner.core.problems import refuse

Array = npt.NDArray[np.float64]


def read_statistics(path: Path, sha256: str | None = None) -> dict[str, Array]:
    """Every array of the file as float64, flattened to one dimension.

    Raises:
        Refusal: missing, no such format, other sha256, pickled, or not numbers.
    """
    if not path.is_file():
        raise refuse(str(path), "", "a statistics file (.npz or .json)", "no such file")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise refuse(str(path), "", "a readable file", str(error)) from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        found = hashlib.sha256(content).hexdigest()
        raise refuse(str(path), "sha256", sha256, found, "the file is not the one the spec names")
    if path.suffix == ".npz":
        return _read_npz(path, content)
    if path.suffix == ".json":
        return _read_json(path, content)
    raise refuse(str(path), "", "a file ending in .npz or .json", f"'{path.suffix}'")


# What zipfile, zlib and numpy raise on damaged bytes; MemoryError is a huge shape in a header.
_DAMAGED = (
    *(OSError, ValueError, EOFError, KeyError, BadZipFile, zlib.error, TypeError),
    *(NotImplementedError, RuntimeError, MemoryError, OverflowError, AttributeError),
)


def _read_npz(path: Path, content: bytes) -> dict[str, Array]:
    expected, remedy = "an .npz of plain arrays (no pickled objects)", "export the statistics again"
    if not content.startswith(b"PK"):
        got = "an empty file" if not content else "a file that is no .npz"
        raise refuse(str(path), "", expected, got, remedy)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return {key: _numbers(path, key, stored[key]) for key in stored.files}
    except _DAMAGED as error:
        text = str(error) or type(error).__name__
        raise refuse(str(path), "", expected, text, remedy) from error


def _read_json(path: Path, content: bytes) -> dict[str, Array]:
    try:
        stored = json.loads(content)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise refuse(str(path), "", "a JSON object of lists of numbers", str(error)) from error
    if not isinstance(stored, Mapping):
        raise refuse(str(path), "", "a JSON object of lists of numbers", type(stored).__name__)
    return {str(key): _numbers(path, str(key), value) for key, value in stored.items()}


def _numbers(path: Path, key: str, value: object) -> Array:
    try:
        return np.asarray(value, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError) as error:
        raise refuse(str(path), key, "numbers", str(error)) from error
