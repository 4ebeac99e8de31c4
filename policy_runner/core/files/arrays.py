"""Read arrays from files without pickle and without trusting the sizes that a file states."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.files.bounded import MIB, MOST_STORED, read_bounded
from policy_runner.core.model import Array

_EXPECTED = "an .npz of plain arrays (no pickled objects)"
_REMEDY = "export the file again"


def npz_arrays(
    path: Path, content: bytes, most: int = MOST_STORED
) -> Mapping[str, npt.NDArray[Any]]:
    """Read every array of an .npz archive, by name.

    Args:
        path: the file, for error messages.
        content: its bytes.
        most: largest size after decompression [bytes].

    Raises:
        Refusal: no .npz, a damaged one, pickled objects, or more than `most` bytes unpacked.
    """
    if not content.startswith(b"PK"):
        got = "an empty file" if not content else "a file that is not an .npz"
        raise refuse(str(path), "", _EXPECTED, got, _REMEDY)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if sum(one.file_size for one in members) > most:
                raise ValueError(f"more than {most // MIB} MiB unpacked")
            names = [one.filename.removesuffix(".npy") for one in members]
            return {name: _array(_read(archive, one)) for name, one in zip(names, members)}
    except Exception as error:
        # From zipfile, zlib, numpy, and from Python's parser, because numpy parses headers with it.
        text = " ".join(str(error).split()) or type(error).__name__
        raise refuse(str(path), "", _EXPECTED, text[:400], _REMEDY) from error


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("a compression that numpy does not write")
    with archive.open(member) as file:
        return file.read(member.file_size)  # without a size, `read` would unpack everything first


def _array(content: bytes) -> npt.NDArray[Any]:
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"an array of version {version}")
    if dtype.hasobject:
        raise ValueError("Python objects, which can only be read by running a pickle")
    count, behind = math.prod(shape), len(content) - file.tell()
    if count < 0 or count * dtype.itemsize != behind or (count and not behind):
        raise ValueError(f"{behind} bytes for shape {shape} of {dtype}")
    flat = np.frombuffer(content, dtype, count, file.tell()) if behind else np.zeros(count, dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


def read_statistics(
    path: Path, sha256: str | None = None, group: Sequence[str] = ()
) -> dict[str, Array]:
    """Read every array of the file as float64, flattened to one dimension.

    Args:
        path: an .npz, .json or .safetensors file.
        sha256: expected sha256 of the file; None: not checked.
        group: in a nested .json, the keys that lead to the mapping with the arrays, outermost
            first. In the other formats, the beginning of the arrays' names, without the dot or
            slash that follows.

    Raises:
        Refusal: missing, no such format, no such group, other sha256, pickled, or not numbers.
    """
    what = "a statistics file (.npz, .json or .safetensors)"
    content = read_bounded(path, MOST_STORED, what, sha256)
    if path.suffix == ".npz":
        stored = npz_arrays(path, content).items()
        return _of_group(path, {key: _numbers(path, key, array) for key, array in stored}, group)
    if path.suffix == ".safetensors":
        return _of_group(path, _read_safetensors(path, content), group)
    if path.suffix == ".json":
        return _read_json(path, content, group)
    expected = "a file ending in .npz, .json or .safetensors"
    raise refuse(str(path), "", expected, f"'{path.suffix}'")


def read_tensor(path: Path, key: str, sha256: str | None = None) -> Array:
    """Read one array of the file as float64, flattened to one dimension.

    Args:
        path: an .npz, .json or .safetensors file.
        key: the array's name.
        sha256: expected sha256 of the file; None: not checked.

    Raises:
        Refusal: see `read_statistics`, or no array has that name.
    """
    stored = read_statistics(path, sha256)
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


# safetensors: 8 bytes with the length of a JSON header, the header {name: dtype, shape,
# data_offsets}, then the bytes of all tensors, little-endian. The format's repository describes it.
_SAFETENSORS = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "i1", "U8": "u1", "BOOL": "?",
}  # fmt: skip


def _read_safetensors(path: Path, content: bytes) -> dict[str, Array]:
    expected, remedy = "a .safetensors file of numbers", "copy the file again from its source"
    try:
        length = int.from_bytes(content[:8], "little")
        if 8 + length > len(content):
            raise ValueError(f"a header of {length} bytes in {len(content)}")
        header = json.loads(content[8 : 8 + length])
        found, room = {}, len(content)
        for key, facts in header.items():
            if key == "__metadata__":
                continue
            first, last = facts["data_offsets"]
            data = content[8 + length + first : 8 + length + last]
            room -= len(data)
            if room < 0:
                raise ValueError("tensors that overlap")
            if facts["dtype"] == "BF16":  # the upper half of a float32
                wide = np.frombuffer(data, dtype="<u2").astype("<u4") << 16
                values = wide.view("<f4")
            else:
                values = np.frombuffer(data, dtype=_SAFETENSORS[facts["dtype"]])
            if values.size != math.prod(facts["shape"]):
                raise ValueError(f"'{key}' has {values.size} numbers for shape {facts['shape']}")
            found[str(key)] = values.astype(np.float64)
        return found
    except Exception as error:  # a header may be any JSON
        text = " ".join(str(error).split())[:400] or type(error).__name__
        raise refuse(str(path), "", expected, text, remedy) from error


def _read_json(path: Path, content: bytes, group: Sequence[str]) -> dict[str, Array]:
    try:
        stored = json.loads(content)
    except (ValueError, RecursionError) as error:  # ValueError: also an integer that is too long
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
    if isinstance(value, np.ndarray) and value.dtype.kind not in "biuf":
        raise refuse(str(path), key, "numbers", f"{value.dtype}")
    try:
        return np.asarray(value, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError) as error:
        raise refuse(str(path), key, "numbers", str(error)) from error
