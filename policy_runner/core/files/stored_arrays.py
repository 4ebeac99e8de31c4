"""The arrays of an .npz, read without pickle and without believing what it says of its size."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from policy_runner.core.errors import refuse
from policy_runner.core.files.bounded import MIB, MOST_STORED

_EXPECTED = "an .npz of plain arrays (no pickled objects)"
_REMEDY = "export the file again"


def npz_arrays(
    path: Path, content: bytes, most: int = MOST_STORED
) -> Mapping[str, npt.NDArray[Any]]:
    """Every array of the archive by name.

    Raises:
        Refusal: no .npz, a damaged one, pickled objects, or more than `most` bytes unpacked.
    """
    if not content.startswith(b"PK"):
        got = "an empty file" if not content else "a file that is no .npz"
        raise refuse(str(path), "", _EXPECTED, got, _REMEDY)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if sum(one.file_size for one in members) > most:
                raise ValueError(f"more than {most // MIB} MiB unpacked")
            names = [one.filename.removesuffix(".npy") for one in members]
            return {name: _array(_read(archive, one)) for name, one in zip(names, members)}
    except Exception as error:
        # Those of zipfile, zlib, numpy, and of Python's parser, which numpy reads headers with.
        text = " ".join(str(error).split()) or type(error).__name__
        raise refuse(str(path), "", _EXPECTED, text[:400], _REMEDY) from error


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("a compression that numpy does not write")
    with archive.open(member) as file:
        return file.read(member.file_size)  # with a size: else all is unpacked before it is cut


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
        raise ValueError("Python objects, which are read by running a pickle")
    count, behind = math.prod(shape), len(content) - file.tell()
    if count < 0 or count * dtype.itemsize != behind or (count and not behind):
        raise ValueError(f"{behind} bytes for shape {shape} of {dtype}")
    flat = np.frombuffer(content, dtype, count, file.tell()) if behind else np.zeros(count, dtype)
    return flat.reshape(shape, order="F" if fortran else "C")
