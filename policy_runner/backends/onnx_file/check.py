"""Checks a model file and the weight files that it names; refuses compiled engines.

A tensor can name a file (`external_data: {location: file}`) wherever a tensor is allowed: among
the initializers, in a node's attribute, in an inner graph, in a function. All of these places are
checked. A check of only some places would not protect.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from policy_runner.backends.onnx_file.graph import fields
from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.spec import SpecFile

# message: {field number: type of the message in it}; the numbers are from onnx.proto.
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
_ENGINE = b"EPContext"  # ONNX Runtime's node that contains or names a compiled engine
_LOCATION = re.compile(rb"\n\x08location\x12([\x01-\x7f])")
_SEARCHED, _OVERLAP = 1 << 17, 16  # the pattern is 12 bytes long


def named_files(content: bytes) -> tuple[set[str], bool]:
    """Find the other files that an ONNX file names.

    Args:
        content: of the ONNX file.

    Returns:
        (locations of external tensors, whether a node contains or names a compiled engine).
    """
    # The pattern also finds names in a damaged file, which cannot be followed as protobuf.
    # It searches in pieces: a search holds the GIL until it ends and blocks a control loop.
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
    """Return the weight files of an ONNX model, with links resolved.

    Raises:
        Refusal: one is missing or outside the model's folder, or the model has a compiled engine.
    """
    names, engine = named_files(model.read_bytes())
    problems = []
    found = []
    folder = model.parent.resolve()
    for name in sorted(names):
        path = folder if "\0" in name else (folder / name).resolve()
        if not path.is_relative_to(folder) or path == folder:
            expected = "external data in the model's folder"
            problems.append(Problem(str(model), "external data", expected, f"'{name}'"))
        elif not path.is_file():
            problems.append(
                Problem(
                    str(model), "external data", f"the file '{name}' next to it", "no such file",
                    "copy it from the folder where the model was exported",
                )
            )  # fmt: skip
        elif pointer := lfs_pointer(path):
            problems.append(
                Problem(str(path), "", "weights of a model", pointer, LFS_REMEDY)
            )  # fmt: skip
        else:
            found.append(path)
    if engine:
        expected = "a network (engines are built from it on the robot)"
        got = "a compiled engine (EPContext), which is executable code"
        problems.append(Problem(str(model), "", expected, got, "export it without its engine"))
    if problems:
        raise Refusal(problems)
    return tuple(found)


LFS_POINTER = b"version https://git-lfs.github.com/spec/"
LFS_REMEDY = "run `git lfs pull` in the repository that it is from"
_READ = 1 << 18


def lfs_pointer(path: Path) -> str:
    """Return what a file is if it is a pointer of Git LFS and not the file itself, else ''."""
    with path.open("rb") as file:
        begin = file.read(1024)
    if not begin.startswith(LFS_POINTER):
        return ""
    size = re.search(rb"^size (\d+)", begin, re.MULTILINE)
    return "a Git LFS pointer" + (f" to a file of {size[1].decode()} bytes" if size else "")


def check_model_file(path: Path, sha256: str | None, spec_path: Path) -> str:
    """Refuse a file that is not the expected model before a runtime reads it.

    Args:
        path: the ONNX file.
        sha256: the expected sha256; None: any.
        spec_path: the file that names the model, for messages.

    Returns:
        The file's sha256.

    Raises:
        Refusal: no file, an empty file, a Git LFS pointer, or another sha256 than expected.
    """
    if not path.is_file():
        raise refuse(str(spec_path), "model.file", "an ONNX file", f"no file {path}")
    # Read in pieces: freeing 100 MB at once takes milliseconds and would delay a control loop
    # that runs during a reload.
    digest, begin = hashlib.sha256(), b""
    try:
        with path.open("rb") as file:
            while piece := file.read(_READ):
                begin = begin or piece
                digest.update(piece)
    except OSError as error:
        raise refuse(str(path), "", "a readable file", str(error)) from error
    if pointer := lfs_pointer(path):
        raise refuse(str(path), "", "an ONNX model", pointer, LFS_REMEDY)
    if not begin:
        raise refuse(str(path), "", "an ONNX model", "an empty file")
    found = digest.hexdigest()
    if sha256 is not None and found != sha256:
        remedy = "the model is not the one that the spec was written for"
        raise refuse(str(path), "sha256", sha256, found, remedy)
    return found


def checked_model(spec_file: SpecFile) -> Path:
    """The file of a spec's model, with the checksums that the spec states.

    Raises:
        Refusal: no such file, or another one than the spec was written for.
    """
    model = spec_file.spec.model
    path = spec_file.next_to(model.file, "model.file")
    check_model_file(path, model.sha256, spec_file.path)
    check_data(path, model.data, spec_file.path, "model.data")
    return path


def sha256_of(path: Path) -> str:
    """Return the hexadecimal sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def data_digests(model: Path, files: Sequence[Path]) -> tuple[tuple[str, str], ...]:
    """Return (name, sha256) of a model's weight files, sorted by path."""
    folder = model.parent.resolve()
    found = ((path.resolve().relative_to(folder).as_posix(), path) for path in files)
    return tuple((name, sha256_of(path)) for name, path in sorted(found))


def check_data(model: Path, data: Mapping[str, str] | None, spec_path: Path, key: str) -> None:
    """Refuse weight files that are not those of the spec.

    Args:
        model: the ONNX file.
        data: {file: sha256} of every weight file; None: not checked.
        spec_path: the spec, for messages.
        key: the key of `data` in the spec.

    Raises:
        Refusal: another checksum, or the spec and the model name different files.
    """
    if data is None:
        return
    found = dict(data_digests(model, data_files(model)))
    problems: list[Problem | str] = []
    if set(found) != set(data):
        expected = f"the weight files that the model names ({', '.join(sorted(found)) or 'none'})"
        got = ", ".join(sorted(data)) or "none"
        problems.append(Problem(str(spec_path), key, expected, got))
    remedy = "the weights are not those that the spec was written for"
    problems += [
        Problem(str(model.parent / name), "sha256", data[name], digest, remedy)
        for name, digest in found.items()
        if name in data and data[name] != digest
    ]
    if problems:
        raise Refusal(problems)
