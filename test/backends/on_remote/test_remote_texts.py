"""Texts for a model on a server: what the policy's bytes become on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from dummy_servers import openpi_dummy

from policy_runner.backends.remote.client.checked_client import CheckedClient, Contradiction
from policy_runner.backends.remote.client.interface import Garbled, ServerAddress
from policy_runner.backends.remote.protocols.v2_messages import encode_request
from policy_runner.core.errors import Refusal
from policy_runner.core.spec import read_spec
from policy_runner.robot.load import LoadedPolicy, bind_policy
from policy_runner.robot.values import parameter_values

SIZE = 16
TEXT = "öffne"
with_websockets = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("websockets", "msgpack")), reason="no extra [remote]"
)


def write(folder: Path, tensor: Mapping[str, Any], **text: Any) -> Path:
    """A policy of a VLA's kind without a file: one joint and an instruction."""
    whole = {"term": "text", "input": "prompt", "size": SIZE}
    content = {
        "schema": "policy_runner/1",
        "name": "vla",
        "model": {
            "tensors": {
                "inputs": {"state": {"dtype": "float32", "shape": [1]}, "prompt": dict(tensor)},
                "outputs": {"actions": {"dtype": "float32", "shape": [4, 1]}},
            }
        },
        "control_dt": 0.02,
        "joint_names": ["a"],
        "inputs": {
            "joints": {"type": "sensor_msgs/msg/JointState", "topic": "joint_states"},
            "prompt": {"type": "std_msgs/msg/String", "topic": "~/prompt"},
        },
        "observation": [
            {
                "tensor": "state",
                "terms": [{"term": "joint_position", "input": "joints"}],
                "normalization": "none",
            },
            {"tensor": "prompt", **(text or {"whole": whole})},
        ],
        "action": [{"tensor": "actions", "groups": [{"kind": "velocity", "joints": ["a"]}]}],
        "chunk": {"dt": 0.02},
        "last_action": "raw",
    }
    folder.mkdir(exist_ok=True)
    (folder / "policy.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder


def bound(folder: Path, url: str) -> LoadedPolicy:
    spec_file = read_spec(folder)
    values, _ = parameter_values(None, spec_file.spec, [], [])
    given = {"backend": "remote", "remote.url": url, "inference.lane": "thread", "prompt": TEXT,
             "require_arming": False}  # fmt: skip
    return bind_policy(spec_file, {**values, **given}, False)


@with_websockets
def test_openpi_gets_a_text(tmp_path: Path) -> None:
    """The parameter's text, then the newest one of a message."""
    folder = write(tmp_path / "vla", {"dtype": "text", "shape": [SIZE]})
    with openpi_dummy(lambda _: {"actions": np.zeros((4, 1), np.float32)}) as dummy:
        loaded = bound(folder, dummy.url)
        try:
            pipeline = loaded.pipeline
            for k, text in enumerate((TEXT, "close")):
                if k:
                    loaded.feed("prompt", {"data": text}, 0)
                asked = len(dummy.seen)
                for tick in range(2000):
                    now_ns = (2000 * k + tick) * 20_000_000
                    loaded.feed("joints", {"name": ["a"], "position": [0.5]}, now_ns)
                    pipeline.step(now_ns)
                    laned: Any = pipeline.laned
                    laned.requests.lane.wait(0.2)
                    if len(dummy.seen) > asked + 1:
                        break
                assert dummy.seen[-1]["prompt"] == text
                assert dummy.seen[-1]["state"].tolist() == [0.5]
            loaded.change({"prompt": "older"})  # as at the swap of a reload
            kept = pipeline.slots["prompt"].text
            assert kept is not None
            assert kept.data == b"close"
        finally:
            loaded.close()


@pytest.mark.parametrize(
    ("tensor", "text", "sentence"),
    [
        ({"dtype": "text", "shape": [1, SIZE]}, {}, r"\[bytes\], one size, for a text"),
        (
            {"dtype": "text", "shape": [SIZE]},
            {"constant": 65.0},
            r"`whole: \{term: text, ...\}` for the tensor 'prompt', which is a text",
        ),
        ({"dtype": "text", "shape": [8]}, {}, "add up to the 8 elements of 'prompt'"),
    ],
)
def test_a_text_that_the_spec_does_not_fill_is_refused(
    tmp_path: Path, tensor: dict[str, Any], text: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(Refusal, match=sentence):
        bound(write(tmp_path / "vla", tensor, **text), "http://127.0.0.1:1/v2/models/m")


# --- the Open Inference Protocol ---


def test_protocol_v2_has_texts_as_bytes_with_their_sizes() -> None:
    text = TEXT.encode()
    for given, shape in ((TEXT, b"[1]"), (np.array([[TEXT]]), b"[1,1]")):
        body, length = encode_request({"prompt": given}, "1")
        assert body[length:] == len(text).to_bytes(4, "little") + text
        wanted = b'{"name":"prompt","shape":%s,"datatype":"BYTES"' % shape
        assert wanted in body[:length]


class Telling:
    """A client of a server that tells its tensors."""

    told: Mapping[str, Any] = {}

    def __init__(self, datatype: str, shape: list[int]) -> None:
        self.row = {"name": "prompt", "datatype": datatype, "shape": shape}
        self.given: Any = None

    def connect(self) -> Mapping[str, Any]:
        actions = {"name": "actions", "datatype": "FP32", "shape": [1]}
        return {"inputs": [self.row], "outputs": [actions]}

    def infer(self, inputs: Any, _deadline_s: float) -> Any:
        self.given = inputs["prompt"]
        return {"actions": np.zeros(1, np.float32)}

    def close(self) -> None:
        return None


def _checked(client: Telling) -> CheckedClient:
    address = ServerAddress("http://127.0.0.1:1/v2/models/m")
    tensors = {"prompt": np.zeros(SIZE, np.uint8)}, {"actions": np.zeros(1, np.float32)}
    return CheckedClient(client, address, *tensors, texts=["prompt"])


@pytest.mark.parametrize("shape", [[1], [-1], [1, 1], [-1, 1], []])
def test_a_text_has_the_servers_shape(shape: list[int]) -> None:
    client = Telling("BYTES", shape)
    checked = _checked(client)
    checked.connect()
    checked.infer({"prompt": TEXT}, 1.0)
    assert client.given.shape == tuple(1 for _ in shape)
    assert client.given.reshape(-1).tolist() == [TEXT]


@pytest.mark.parametrize(("datatype", "shape"), [("UINT8", [1]), ("BYTES", [2])])
def test_a_server_without_such_a_text_is_refused(datatype: str, shape: list[int]) -> None:
    with pytest.raises(Contradiction, match=r"the policy one text \(BYTES \[1\]\)"):
        _checked(Telling(datatype, shape)).connect()


@pytest.mark.parametrize("shape", [None, ["1"], [1.5], [True], [np.zeros(2)], [1] * 100])
def test_a_shape_that_is_no_short_list_of_whole_numbers_is_garbled(shape: Any) -> None:
    with pytest.raises(Garbled, match="metadata whose inputs have no names and shapes"):
        _checked(Telling("BYTES", shape)).connect()


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"total_ms": 1.5}, 1.5),
        ({"server_timing": {"infer_ms": 2}}, 2.0),
        ({"total_ms": 10**400}, None),  # JSON allows it; a float does not
        ({"total_ms": float("nan")}, None),
        ({"server_timing": {"infer_ms": np.ones(2)}}, None),
    ],
)
def test_only_a_number_is_a_servers_time(told: Mapping[str, Any], expected: float | None) -> None:
    client = Telling("BYTES", [1])
    client.told = told
    assert _checked(client).server_ms == expected
