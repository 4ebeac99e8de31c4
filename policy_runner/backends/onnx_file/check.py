"""Checks a model file and the other files that it names: its weights; engines are refused.

A tensor may say `external_data: {location: file}` wherever a tensor may stand: among the
initializers, in a node's attribute, in an inner graph, in a function. All of them are looked at,
since a file name that is found only sometimes protects from nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from policy_runner.backends.onnx_file.graph import fields
from policy_runner.core.errors import Problem, Refusal, refuse

# message: {field number: the message it holds}; numbers are those of onnx.proto.
_PARTS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_ENGINE = b"EPContext"  # ONNX Runtime's node that holds, or names, a compiled engine
_LOCATION = re.compile(rb"\n\x08location\x12([\x01-\x7f])")
_SEARCHED, _OVERLAP = 1 << 17, 16  # the pattern is 12 bytes long


def named_files(content: bytes) -> tuple[set[str], bool]:
    """(locations of external tensors, whether a node holds an engine) of an ONNX file."""
    # Of a damaged file, which no runtime reads, at least what is written as exporters write it.
    # Piece by piece, since a search keeps the interpreter from a control loop until it ends.
    names = {
        content[match.end() : match.end() + match[1][0]]
        for begin in range(0, len(content), _SEARCHED)
        for match in _LOCATION.finditer(content, begin, begin + _SEARCHED + _OVERLAP)
    }
    engine = False
    waiting = [("model", memoryview(content))]
    try:
        while waiting:
            kind, part = waiting.pop()
            entry: dict[int, bytes] = {}
            for number, value in fields(part):
                if not isinstance(value, memoryview):
                    continue
                inner = _PARTS.get(kind, {}).get(number)
                if inner is not None:
                    waiting.append((inner, value))
                elif kind == "entry":
                    entry[number] = bytes(value)
                elif kind == "node" and number == 4:
                    engine |= bytes(value) == _ENGINE
            if entry.get(1) == b"location":
                names.add(entry.get(2, b""))
    except (ValueError, IndexError):
        pass
    return {name.decode("utf-8", "replace") for name in names}, engine


def data_files(model: Path) -> tuple[Path, ...]:
    """The files beside an ONNX model that hold its weights, links followed.

    Raises:
        Refusal: one is missing, or lies outside the model's folder, or the model holds an engine.
    """
    names, engine = named_files(model.read_bytes())
    problems = []
    found = []
    folder = model.parent.resolve()
    for name in sorted(names):
        path = folder if "\0" in name else (folder / name).resolve()
        if not path.is_relative_to(folder) or path == folder:
            expected = "external data beside the model"
            problems.append(Problem(str(model), "external data", expected, f"'{name}'"))
        elif not path.is_file():
            problems.append(
                Problem(
                    str(model), "external data", f"the file '{name}' beside it", "no such file",
                    "copy it from where the model is from",
                )
            )  # fmt: skip
        else:
            found.append(path)
    if engine:
        expected = "a network, which engines are built of on the robot"
        got = "a compiled engine (EPContext), which is a program"
        problems.append(Problem(str(model), "", expected, got, "export it without its engine"))
    if problems:
        raise Refusal(problems)
    return tuple(found)


LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_READ = 1 << 18


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
            while piece := file.read(_READ):
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


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def data_digests(model: Path, files: Sequence[Path]) -> tuple[tuple[str, str], ...]:
    """(name, sha256) of the files that hold a model's weights."""
    folder = model.parent.resolve()
    found = ((path.resolve().relative_to(folder).as_posix(), path) for path in files)
    return tuple((name, sha256_of(path)) for name, path in sorted(found))
