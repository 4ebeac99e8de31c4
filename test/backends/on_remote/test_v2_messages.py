"""The Open Inference Protocol's bytes and JSON, both directions."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy_runner.backends.remote.protocols.bounds import MalformedMessage
from policy_runner.backends.remote.protocols.json_arrays import decode_value, encode_array
from policy_runner.backends.remote.protocols.v2_messages import (
    DATATYPES,
    InferRequest,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)

ARRAYS = st.builds(
    lambda kind, shape, seed: np.random.default_rng(seed).integers(0, 2, shape).astype(kind),
    st.sampled_from([*DATATYPES.values()]),
    st.lists(st.integers(0, 4), min_size=1, max_size=3),
    st.integers(0, 99),
)
TENSORS = st.dictionaries(st.text(min_size=1, max_size=5), ARRAYS, min_size=1, max_size=3)


def same(one: Any, other: Any) -> bool:
    """The same names, types and bits."""
    return list(one) == list(other) and all(
        one[k].dtype == other[k].dtype and one[k].shape == other[k].shape
        and one[k].tobytes() == other[k].tobytes() for k in one
    )  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(TENSORS)
def test_a_request_comes_back(tensors: dict[str, Any]) -> None:
    body, length = encode_request(tensors, "7", ["a"])
    found = decode_request(body, str(length))
    assert same(found.tensors, tensors)
    assert (found.id, found.binary, dict(found.outputs)) == ("7", True, {"a": True})


@settings(max_examples=40, deadline=None)
@given(TENSORS, st.booleans())
def test_an_answer_comes_back(tensors: dict[str, Any], binary: bool) -> None:
    request = InferRequest({}, {}, binary, "8")
    body, length = encode_answer(tensors, request, "m", parameters={"queue_ms": 1.0})
    assert (length is None) != binary
    found, given_id, parameters = decode_answer(body, None if length is None else str(length))
    assert same(found, tensors)
    assert (given_id, parameters) == ("8", {"queue_ms": 1.0})


def test_the_layout_is_the_specifications() -> None:
    body, length = encode_request({"obs": np.array([[1.5, 2.5]], np.float32)}, "1")
    head = json.loads(body[:length])
    assert head["inputs"] == [
        {"name": "obs", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
    ]
    assert body[length:] == np.array([1.5, 2.5], "<f4").tobytes()


def request(**changes: Any) -> bytes:
    """A request in JSON with one tensor, with some of its keys replaced."""
    one = {"name": "a", "shape": [2], "datatype": "FP32", "data": [1, 2], **changes}
    return json.dumps({"inputs": [one]}).encode()


def test_lists_may_be_nested() -> None:
    found = decode_request(request(shape=[2, 2], data=[[1, 2], [3, 4]]), None)
    assert found.tensors["a"].tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("body", "length", "word"),
    [
        (request(), "x", "not a number"),
        (request(), "999", "larger than the body"),
        (request(), "3", "not JSON"),
        (b"[" * 100_000, None, "not JSON"),
        (b"[]", None, "not an object"),
        (b'{"inputs": 3}', None, "not a list"),
        (b'{"inputs": [3]}', None, "not an object"),
        (b'{"inputs": [{"shape": [1]}]}', None, "without a name"),
        (b'{"inputs": [{"name": "a", "shape": [1], "datatype": "BYTES"}]}', None, "datatype"),
        (b'{"id": 3}', None, "not a text"),
        (b'{"parameters": 3}', None, "not an object"),
        (request(data=None), None, "numbers"),
        (request(data=[1, [2]]), None, "numbers"),
        (request(data=[1, "2"]), None, "numbers"),
        (request(data=[1, 2, 3]), None, "2 numbers"),
        (request(datatype="UINT8", data=[1, 256]), None, "cannot hold"),
        (request(datatype="INT32", data=[1, 2.5]), None, "cannot hold"),
        (request(shape=[1 << 60]), None, "shape"),
        (request(shape=[-1]), None, "shape"),
        (request(parameters={"binary_data_size": -1}), None, "outside"),
        (request(parameters={"binary_data_size": 8}), None, "outside"),
        (request(parameters={"binary_data_size": True}), None, "outside"),
        (request() + b"more", str(len(request())), "4 bytes behind"),
        (json.dumps({"inputs": json.loads(request())["inputs"] * 2}).encode(), None, "twice"),
    ],
)  # fmt: skip
def test_damaged_requests_are_refused(body: bytes, length: str | None, word: str) -> None:
    with pytest.raises(MalformedMessage, match=word):
        decode_request(body, length)


def test_an_error_of_the_server_is_one_of_the_client() -> None:
    with pytest.raises(MalformedMessage, match="no such model"):
        decode_answer(b'{"error": "no such model"}', None)


def test_arrays_in_json() -> None:
    given_ = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert same({"a": decode_value(encode_array(given_))}, {"a": given_})
    assert decode_value([[1, 2], [3, 4]]).shape == (2, 2)
    assert decode_value(["a", "b"]) == ["a", "b"]


@pytest.mark.parametrize(
    "value",
    [
        {"__numpy__": 3, "dtype": "<f4", "shape": [1]},
        {"__numpy__": "!!!", "dtype": "<f4", "shape": [1]},
        {"__numpy__": "AAAA", "dtype": "|O", "shape": [1]},
        {"__numpy__": "AAAA", "dtype": "<f4", "shape": [1 << 50]},
        {"other": 1},
        [[1], [2, 3]],
        [None],
        None,
    ],
)
def test_damaged_values_in_json_are_refused(value: Any) -> None:
    with pytest.raises(MalformedMessage):
        decode_value(value)
