"""Damaged and hostile messages give values or a MalformedMessage; a session gives a Refusal."""

from __future__ import annotations

import json
import random
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_rig import signals, write_policy
from fuzzing import fuzz, json_bytes, mutated_bytes, mutated_tree
from serve_rig import observation

from policy_runner.backends.remote.protocols.bounds import MalformedMessage
from policy_runner.backends.remote.protocols.json_arrays import (
    decode_value,
    encode_array,
    read_json,
)
from policy_runner.backends.remote.protocols.v2_messages import (
    InferRequest,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)
from policy_runner.core.errors import Refusal
from policy_runner.serving.session.served_policy import ServedPolicy

TENSORS = {"obs": np.ones((2, 3), np.float32), "on": np.array([True])}
with_msgpack = pytest.mark.skipif(find_spec("msgpack") is None, reason="msgpack is not installed")


@with_msgpack
def test_openpi_messages(tmp_path: Path) -> None:
    from policy_runner.backends.remote.protocols.openpi_messages import decode_map, encode

    seeds = [
        encode({"image": np.zeros((2, 2, 3), np.uint8), "state": np.ones(4, np.float32)}),
        encode({"a": {"b": [1, 2.5, "text", None, True]}, "n": np.float32(2)}),
    ]

    def make(rng: random.Random) -> bytes:
        return mutated_bytes(rng, rng.choice(seeds), seeds)

    found = fuzz("openpi", tmp_path, make, decode_map, MalformedMessage)
    assert found["read"]
    assert found["refused"]


def test_v2_requests(tmp_path: Path) -> None:
    body, length = encode_request(TENSORS, "1", ["actions"])
    head = json.loads(body[:length])

    def make(rng: random.Random) -> tuple[bytes, str | None]:
        if rng.random() < 0.5:
            data = json_bytes(mutated_tree(rng, head))
            return data + body[length:], str(len(data))
        data = mutated_bytes(rng, body, [body])
        return data, rng.choice((None, str(length), "0", "-1", "9" * 30, "x"))

    found = fuzz("v2 request", tmp_path, make, lambda one: decode_request(*one), MalformedMessage)
    assert found["read"]
    assert found["refused"]


def test_v2_answers(tmp_path: Path) -> None:
    body, length = encode_answer(TENSORS, InferRequest({}, {}, True, "1"), "m")
    assert length is not None
    head = json.loads(body[:length])

    def make(rng: random.Random) -> tuple[bytes, str | None]:
        data = json_bytes(mutated_tree(rng, head))
        joined = data + mutated_bytes(rng, body[length:], [body])
        return joined, rng.choice((None, str(len(data)), str(length)))

    found = fuzz("v2 answer", tmp_path, make, lambda one: decode_answer(*one), MalformedMessage)
    assert found["refused"]


def test_arrays_in_json(tmp_path: Path) -> None:
    tree = {"a": encode_array(TENSORS["obs"]), "b": [[1, 2], [3, 4]]}

    def make(rng: random.Random) -> bytes:
        return json_bytes(mutated_tree(rng, tree))

    def read(data: bytes) -> None:
        found = read_json(data)
        for value in found.values() if isinstance(found, dict) else [found]:
            decode_value(value)

    assert fuzz("json arrays", tmp_path, make, read, MalformedMessage)["refused"]


def test_requests_of_a_session(tmp_path: Path) -> None:
    policy = ServedPolicy(write_policy(tmp_path / "toy"))
    session = policy.session()
    given: dict[str, Any] = {**observation(signals(20), 0), "time": 1.0, "reset": True, "id": 1}

    def make(rng: random.Random) -> Any:
        return mutated_tree(rng, given)

    def read(one: Any) -> None:
        fields, _ = session.answer(one if isinstance(one, dict) else {"a": one})
        assert np.isfinite(fields["actions"]).all()

    session.answer(given)
    found = fuzz("session", tmp_path, make, read, Refusal)
    assert found["read"]
    assert found["refused"]
    assert session.answer(given)[0]["decision"] == "RUN"
