"""Stored numbers: read from .npz (no pickle), .json or .safetensors."""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from policy_runner.core.problems import did_you_mean, refuse

Array = npt.NDArray[np.float64]


def read_statistics(
    path: Path, sha256: str | None = None, group: Sequence[str] = ()
) -> dict[str, Array]:
    """Every array of the file as float64, flattened to one dimension.

    `group` are the keys from outside to the mapping that holds them in a nested .json; in the
    other formats it is the beginning of their names, without the dot or slash after it.

    Raises:
        Refusal: missing, no such format, no such group, other sha256, pickled, or not numbers.
    """
    if not path.is_file():
        expected = "a statistics file (.npz, .json or .safetensors)"
        raise refuse(str(path), "", expected, "no such file")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise refuse(str(path), "", "a readable file", str(error)) from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        found = hashlib.sha256(content).hexdigest()
        raise refuse(str(path), "sha256", sha256, found, "the file is not the one the spec names")
    if path.suffix == ".npz":
        return _of_group(path, _read_npz(path, content), group)
    if path.suffix == ".safetensors":
        return _of_group(path, _read_safetensors(path, content), group)
    if path.suffix == ".json":
        return _read_json(path, content, group)
    expected = "a file ending in .npz, .json or .safetensors"
    raise refuse(str(path), "", expected, f"'{path.suffix}'")


def read_tensor(path: Path, key: str) -> Array:
    """One array of the file as float64, flattened to one dimension.

    Raises:
        Refusal: as `read_statistics`, or no array of that name.
    """
    stored = read_statistics(path)
    if key not in stored:
        known = ", ".join(stored) or "nothing"
        raise refuse(str(path), key, f"one of {known}", "none", did_you_mean(key, stored))
    return stored[key]


def _of_group(path: Path, stored: dict[str, Array], group: Sequence[str]) -> dict[str, Array]:
    if not group:
        return stored
    heads = tuple(f"{joint.join(group)}{joint}" for joint in (".", "/"))
    inside = {
        key[len(head) :]: values
        for key, values in stored.items()
        for head in heads
        if key.startswith(head)
    }
    if not inside:
        got = ", ".join(stored) or "nothing"
        raise refuse(str(path), "group", f"names that begin with '{heads[0]}'", got)
    return inside


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


# safetensors: 8 bytes length of a JSON header, the header {name: dtype, shape, data_offsets},
# then the bytes of all tensors, little-endian; see the format's description in its repository.
_SAFETENSORS = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "i1", "U8": "u1", "BOOL": "?",
}  # fmt: skip


def _read_safetensors(path: Path, content: bytes) -> dict[str, Array]:
    expected, remedy = "a .safetensors file of numbers", "copy it again from where it is from"
    try:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        found = {}
        for key, facts in header.items():
            if key == "__metadata__":
                continue
            first, last = facts["data_offsets"]
            data = content[8 + length + first : 8 + length + last]
            if facts["dtype"] == "BF16":  # the upper half of a float32
                wide = np.frombuffer(data, dtype="<u2").astype("<u4") << 16
                values = wide.view("<f4")
            else:
                values = np.frombuffer(data, dtype=_SAFETENSORS[facts["dtype"]])
            if values.size != int(np.prod(facts["shape"], dtype=np.int64)):
                raise ValueError(f"'{key}' has {values.size} numbers for shape {facts['shape']}")
            found[str(key)] = values.astype(np.float64)
        return found
    except _DAMAGED as error:
        text = str(error) or type(error).__name__
        raise refuse(str(path), "", expected, text, remedy) from error


def _read_json(path: Path, content: bytes, group: Sequence[str]) -> dict[str, Array]:
    try:
        stored = json.loads(content)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise refuse(str(path), "", "a JSON object of lists of numbers", str(error)) from error
    at = ""
    for part in group:
        if not isinstance(stored, Mapping) or part not in stored:
            known = [str(key) for key in stored] if isinstance(stored, Mapping) else []
            expected = f"one of {', '.join(known) or 'no further key'} {at}".rstrip()
            hint = did_you_mean(part, known)
            raise refuse(str(path), "group", expected, f"'{part}'", hint)
        stored, at = stored[part], f"in '{part}'"
    if not isinstance(stored, Mapping):
        raise refuse(str(path), "", "a JSON object of lists of numbers", type(stored).__name__)
    nested = [str(key) for key, value in stored.items() if isinstance(value, Mapping)]
    if nested:
        expected = "lists of numbers, or the key `group` that says which mapping holds them"
        raise refuse(str(path), "", expected, f"mappings {', '.join(nested)}")
    return {str(key): _numbers(path, str(key), value) for key, value in stored.items()}


def _numbers(path: Path, key: str, value: object) -> Array:
    try:
        return np.asarray(value, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError) as error:
        raise refuse(str(path), key, "numbers", str(error)) from error
