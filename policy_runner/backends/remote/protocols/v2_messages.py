"""Messages of the Open Inference Protocol, version 2, over HTTP: JSON, then tensors as bytes.

Both sides: `encode_request` and `decode_answer` for a client, `decode_request` and `encode_answer`
for a server. With binary tensors the header `Inference-Header-Content-Length` gives the size of the
JSON, and the tensors follow in its order, little-endian, in C order. Sources: open-inference-
protocol, `specification/protocol/inference_rest.md`; Triton, `protocol/extension_binary_data.md`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from policy_runner.backends.remote.protocols.bounds import (
    Array,
    MalformedMessage,
    WireLimits,
    array_from,
    checked_shape,
    shown,
)
from policy_runner.backends.remote.protocols.json_arrays import read_json

JSON_LENGTH = "Inference-Header-Content-Length"
DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    **{f"UINT{8 * n}": np.dtype(f"<u{n}") for n in (1, 2, 4, 8)},
    **{f"INT{8 * n}": np.dtype(f"<i{n}") for n in (1, 2, 4, 8)},
    **{f"FP{8 * n}": np.dtype(f"<f{n}") for n in (2, 4, 8)},
}
TEXTS = "BYTES"  # each element: its size as 4 bytes, then the text
_NAMES = {dtype: name for name, dtype in DATATYPES.items()}
_BINARY_SIZE, _BINARY, _ALL_BINARY = "binary_data_size", "binary_data", "binary_data_output"
_DEFAULT = WireLimits()
_MOST_TENSORS = 256


@dataclass(frozen=True)
class InferRequest:
    """A decoded request.

    Attributes:
        tensors: the inputs by name, read-only.
        outputs: the requested outputs and whether each is sent as bytes; empty: all outputs.
        binary: outputs that are not listed are sent as bytes.
        id: of the request; the answer repeats it.
        parameters: of the request.
    """

    tensors: Mapping[str, Array]
    outputs: Mapping[str, bool] = field(default_factory=dict)
    binary: bool = False
    id: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


def datatype(dtype: np.dtype[Any] | type | str) -> str:
    """Return the protocol's name of a numpy type, such as FP32.

    Raises:
        KeyError: the protocol has no such type.
    """
    return _NAMES[np.dtype(dtype).newbyteorder("<")]


def encode_request(
    tensors: Mapping[str, Array | str], request_id: str, outputs: Sequence[str] = ()
) -> tuple[bytes, int]:
    """Return the body of a request with binary tensors, and the size of its JSON.

    Args:
        tensors: inputs by name; a text, or an array of texts, becomes BYTES.
        request_id: the server repeats it in its answer.
        outputs: the wanted outputs; none: all.
    """
    head: dict[str, Any] = {"id": request_id, "parameters": {_ALL_BINARY: True}}
    head["inputs"], parts = _binary_tensors(tensors)
    if outputs:
        head["outputs"] = [{"name": name, "parameters": {_BINARY: True}} for name in outputs]
    return _joined(head, parts)


def decode_request(
    body: bytes, json_length: str | None, limits: WireLimits = _DEFAULT
) -> InferRequest:
    """Decode the body of a request.

    Args:
        body: of the request.
        json_length: the header `Inference-Header-Content-Length`; None: all of the body is JSON.
        limits: its bounds.

    Raises:
        MalformedMessage: it is not such a request.
    """
    head, rest = _head(body, json_length, limits)
    parameters = _parameters(head)
    outputs = {}
    for one in _list(head, "outputs"):
        given = _parameters(one).get(_BINARY, parameters.get(_ALL_BINARY, False))
        outputs[_name(one)] = given is True
    return InferRequest(
        _tensors(_list(head, "inputs"), rest, limits),
        outputs,
        parameters.get(_ALL_BINARY) is True,
        _text(head, "id"),
        parameters,
    )


def encode_answer(
    tensors: Mapping[str, Array],
    request: InferRequest,
    model: str,
    version: str = "1",
    parameters: Mapping[str, Any] | None = None,
) -> tuple[bytes, int | None]:
    """Return the body of an answer, and the size of its JSON; None: there are no binary tensors.

    Args:
        tensors: outputs by name.
        request: it says which outputs are wanted, and how.
        model: name of the model.
        version: of the model.
        parameters: of the answer, such as the timing.
    """
    wanted = request.outputs or dict.fromkeys(tensors, request.binary)
    head: dict[str, Any] = {"model_name": model, "model_version": version}
    if request.id:
        head["id"] = request.id
    if parameters:
        head["parameters"] = dict(parameters)
    described, parts = [], []
    for name, binary in wanted.items():
        rows, data = _binary_tensors({name: tensors[name]})
        if binary:
            parts += data
        else:
            del rows[0]["parameters"]
            rows[0]["data"] = np.asarray(tensors[name]).reshape(-1).tolist()
        described += rows
    head["outputs"] = described
    body, length = _joined(head, parts)
    return body, (length if parts else None)


def decode_answer(
    body: bytes, json_length: str | None, limits: WireLimits = _DEFAULT
) -> tuple[dict[str, Array], str, Mapping[str, Any]]:
    """Decode an answer: its outputs by name, the id of the request, and the parameters.

    Raises:
        MalformedMessage: it is not such an answer, or it is an error; see `decode_request`.
    """
    head, rest = _head(body, json_length, limits)
    if "error" in head:
        raise MalformedMessage(f"the server's error: {shown(head['error'])}")
    tensors = _tensors(_list(head, "outputs"), rest, limits)
    return tensors, _text(head, "id"), _parameters(head)


def _binary_tensors(
    tensors: Mapping[str, Array | str],
) -> tuple[list[dict[str, Any]], list[bytes]]:
    described, parts = [], []
    for name, given in tensors.items():
        array = np.asarray([given] if isinstance(given, str) else given)
        if array.dtype.kind == "U":
            kind, data = TEXTS, b"".join(_counted(text) for text in array.reshape(-1).tolist())
        else:
            kind = datatype(array.dtype)
            data = array.astype(DATATYPES[kind], copy=False).tobytes()
        described.append(
            {
                "name": name, "shape": list(array.shape), "datatype": kind,
                "parameters": {_BINARY_SIZE: len(data)},
            }
        )  # fmt: skip
        parts.append(data)
    return described, parts


def _counted(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(4, "little") + data


def _joined(head: Mapping[str, Any], parts: Sequence[bytes]) -> tuple[bytes, int]:
    text = json.dumps(head, separators=(",", ":")).encode()
    return b"".join((text, *parts)), len(text)


def _head(
    body: bytes, json_length: str | None, limits: WireLimits
) -> tuple[dict[str, Any], memoryview]:
    limits.check_size(len(body))
    length = len(body)
    if json_length is not None:
        if not (json_length.isascii() and json_length.isdigit() and len(json_length) < 12):
            raise MalformedMessage(f"a header {JSON_LENGTH} that is not a number")
        length = int(json_length)
        if length > len(body):
            raise MalformedMessage(f"a header {JSON_LENGTH} larger than the body")
    head = read_json(bytes(body[:length]), limits)
    if not isinstance(head, dict):
        raise MalformedMessage("JSON that is not an object")
    return head, memoryview(body)[length:]


def _tensors(
    described: Sequence[Mapping[str, Any]], rest: memoryview, limits: WireLimits
) -> dict[str, Array]:
    found: dict[str, Array] = {}
    at = 0
    for one in described:
        name, shape = _name(one), checked_shape(one.get("shape"), limits)
        dtype = DATATYPES.get(str(one.get("datatype")))
        if dtype is None:
            expected = ", ".join(DATATYPES)
            raise MalformedMessage(
                f"tensor '{shown(name)}' with a datatype that is none of {expected}"
            )
        if name in found:
            raise MalformedMessage(f"tensor '{shown(name)}' twice")
        size = _parameters(one).get(_BINARY_SIZE)
        if size is None:
            found[name] = _listed(one.get("data"), dtype, shape, name)
            continue
        if type(size) is not int or not 0 <= size <= len(rest) - at:
            raise MalformedMessage(
                f"tensor '{shown(name)}' with {_BINARY_SIZE} outside of the body"
            )
        found[name] = array_from(rest[at : at + size], dtype, shape)
        at += size
    if at != len(rest):
        raise MalformedMessage(f"{len(rest) - at} bytes behind the tensors")
    return found


def _listed(data: Any, dtype: np.dtype[Any], shape: tuple[int, ...], name: str) -> Array:
    """An array from a list of numbers in JSON, flat or nested."""
    wanted = f"tensor '{shown(name)}': {math.prod(shape)} numbers in 'data'"
    if not isinstance(data, list):
        raise MalformedMessage(f"{wanted} needed")
    try:
        found = np.asarray(data)
        if found.size != math.prod(shape) or found.dtype.kind not in "biuf":
            raise MalformedMessage(f"{wanted} needed")
        with np.errstate(over="ignore"):  # a large float becomes infinite, which the policy judges
            made = found.astype(dtype).reshape(shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise MalformedMessage(f"{wanted} needed") from error
    if dtype.kind in "iub" and not np.array_equal(made.reshape(-1), found.reshape(-1)):
        raise MalformedMessage(f"tensor '{shown(name)}' with numbers that {dtype} cannot hold")
    return made


def _list(head: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = head.get(key, [])
    if not isinstance(found, list) or len(found) > _MOST_TENSORS:
        raise MalformedMessage(f"'{key}' that is not a list of at most {_MOST_TENSORS} tensors")
    if not all(isinstance(one, dict) for one in found):
        raise MalformedMessage(f"'{key}' with something that is not an object")
    return found


def _parameters(given: Mapping[str, Any]) -> Mapping[str, Any]:
    found = given.get("parameters", {})
    if not isinstance(found, dict):
        raise MalformedMessage("'parameters' that are not an object")
    return found


def _name(given: Mapping[str, Any]) -> str:
    found = given.get("name")
    if not isinstance(found, str):
        raise MalformedMessage("a tensor without a name")
    return found


def _text(head: Mapping[str, Any], key: str) -> str:
    found = head.get(key, "")
    if not isinstance(found, str):
        raise MalformedMessage(f"'{key}' that is not a text")
    return found
