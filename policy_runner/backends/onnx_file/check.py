"""The other files that an ONNX file names: those of its weights, and engines, which are refused.

A tensor may say `external_data: {location: file}` wherever a tensor may stand: among the
initializers, in a node's attribute, in an inner graph, in a function. All of them are looked at,
since a file name that is found only sometimes protects from nothing.
"""

from __future__ import annotations

import re
from pathlib import Path

from policy_runner.backends.onnx_file.graph import fields
from policy_runner.core.errors import Problem, Refusal

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

_PIECE, _OVERLAP = 1 << 17, 16  # the pattern is 12 bytes long


def named_files(content: bytes) -> tuple[set[str], bool]:
    """(locations of external tensors, whether a node holds an engine) of an ONNX file."""
    # Of a damaged file, which no runtime reads, at least what is written as exporters write it.
    # Piece by piece, since a search keeps the interpreter from a control loop until it ends.
    names = {
        content[match.end() : match.end() + match[1][0]]
        for begin in range(0, len(content), _PIECE)
        for match in _LOCATION.finditer(content, begin, begin + _PIECE + _OVERLAP)
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
