"""The file checks that come before any runtime reads a model."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from policy_runner.core.errors import refuse

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_PIECE = 1 << 18


def check_model_file(path: Path, sha256: str | None, spec_path: Path) -> str:
    """Refuse what is no ONNX model before a runtime tries to read it; returns its sha256.

    Raises:
        Refusal: no file, an empty file, a Git LFS pointer, or another sha256 than stated.
    """
    if not path.is_file():
        raise refuse(str(spec_path), "model.file", "an ONNX file", f"no file {path}")
    # Not the whole file at once: to give 100 MB back takes milliseconds, which a control loop
    # beside a reload would miss.
    digest, begin = hashlib.sha256(), b""
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                begin = begin or piece
                digest.update(piece)
    except OSError as error:
        raise refuse(str(path), "", "a readable file", str(error)) from error
    if begin.startswith(LFS_POINTER):
        size = re.search(rb"^size (\d+)", begin, re.MULTILINE)
        of = f" to a file of {size[1].decode()} bytes" if size else ""
        remedy = "run `git lfs pull` where it is from"
        raise refuse(str(path), "", "an ONNX model", f"a Git LFS pointer{of}", remedy)
    if not begin:
        raise refuse(str(path), "", "an ONNX model", "an empty file")
    found = digest.hexdigest()
    if sha256 is not None and found != sha256:
        remedy = "the model is not the one that the spec was written for"
        raise refuse(str(path), "sha256", sha256, found, remedy)
    return found
