"""openpi's bytes: the golden, round trips, and what is refused before it is decoded."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy_runner.backends.remote.protocols.bounds import MalformedMessage, WireLimits

pytestmark = pytest.mark.skipif(find_spec("msgpack") is None, reason="msgpack is not installed")

# Made by openpi's own client (commit 15a9616) of {"observation/state": float32 [1, 2],
# "prompt": "go"}.
GOLDEN = bytes.fromhex(
    "82b16f62736572766174696f6e2f737461746584c40b5f5f6e6461727261795f5fc3c40464617461c408"
    "0000803f00000040c4056474797065a33c6634c40573686170659102a670726f6d7074a2676f"
)
DTYPES = ("?", "<i1", "<u1", "<i2", "<i4", "<u8", "<f2", "<f4", "<f8", ">f4")
NUMBERS = st.one_of(st.booleans(), st.integers(-(2**63), 2**63), st.floats(), st.text(max_size=9))
VALUES = st.recursive(
    st.one_of(
        NUMBERS,
        st.builds(
            lambda dtype, shape, k: np.random.default_rng(k).integers(0, 2, shape).astype(dtype),
            st.sampled_from(DTYPES), st.lists(st.integers(0, 3), max_size=3), st.integers(0, 99),
        ),
        st.builds(lambda n: np.float32(n), st.integers(-9, 9)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)  # fmt: skip


def messages() -> Any:
    from policy_runner.backends.remote.protocols import openpi_messages

    return openpi_messages


def same(one: Any, other: Any) -> bool:
    """Equal in type and bits."""
    if isinstance(one, (np.ndarray, np.generic)):
        return one.dtype == other.dtype and np.shape(one) == np.shape(other) and (
            one.tobytes() == other.tobytes())  # fmt: skip
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and (one == other or (one != one and other != other))


def test_the_bytes_are_openpis() -> None:
    given = {"observation/state": np.array([1, 2], np.float32), "prompt": "go"}
    assert messages().encode(given) == GOLDEN
    assert same(messages().decode(GOLDEN), given)
    assert not messages().decode(GOLDEN)["observation/state"].flags.writeable


def test_scalars_are_as_numpy_has_them() -> None:
    found = messages().encode({"a": np.float64(1.5), "b": np.float32(1.5)})
    assert found == bytes.fromhex(
        "82a161cb3ff8000000000000a16283c40d5f5f6e7067656e657269635f5fc3c40464617461cb3ff8000000000000"
        "c4056474797065a33c6634"
    )


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.text(max_size=9), VALUES, max_size=4))
def test_what_is_encoded_is_decoded(value: dict[str, Any]) -> None:
    try:
        data = messages().encode(value)
    except OverflowError:  # msgpack has 64 bits
        return
    assert same(messages().decode_map(data), value)


@pytest.mark.parametrize("kind", [object(), np.array([object()]), np.array(["a"]), 1j])
def test_other_types_are_not_sent(kind: Any) -> None:
    with pytest.raises(TypeError):
        messages().encode({"a": kind})


def array(**changes: Any) -> bytes:
    """A message with one array, with some of its parts replaced."""
    import msgpack

    parts = {b"__ndarray__": True, b"data": b"\0" * 8, b"dtype": "<f4", b"shape": [2]}
    parts |= {key.encode(): value for key, value in changes.items()}
    return bytes(msgpack.packb({"a": parts}))


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ({"dtype": "|O"}, "dtype"),
        ({"dtype": "<c8"}, "dtype"),
        ({"dtype": "<f4,<f4"}, "dtype"),
        ({"dtype": 7}, "dtype"),
        ({"shape": [3]}, "12 needed"),
        ({"shape": [-1]}, "shape"),
        ({"shape": [2.0]}, "shape"),
        ({"shape": [1] * 40}, "shape"),
        ({"shape": [1 << 62, 1 << 62]}, "shape"),
        ({"shape": {}}, "shape"),
        ({"data": "text"}, "bytes"),
        ({"dtype": "|b1", "shape": [8], "data": b"\7" * 8}, "booleans"),
        (b"", "too early"),
        (GOLDEN[:-1], "too early"),
        (GOLDEN + b"\0", "1 bytes behind"),
        (b"\x81\xa1a\xc7\x01\x05\x00", "extension"),
        (b"\x81\xa1a\xdd\xff\xff\xff\xff", "values"),
        (b"\x81\xa1a\xdf\xff\xff\xff\xff", "values"),
        (b"\x81\xa1a\xc6\xff\xff\xff\xff", "too early"),
        (b"\x91" * 100_000, "levels"),
        (b"\x93\x01\x02\x03", "map"),
        (b"\x81\x01\x02", "texts as keys"),
        (b"\x81\x90\x02", "cannot be decoded"),
        (b"\x81\xa1\xff\x02", "cannot be decoded"),
    ],
)  # fmt: skip
def test_damaged_messages_are_refused(data: bytes | dict[str, Any], word: str) -> None:
    damaged = array(**data) if isinstance(data, dict) else data
    with pytest.raises(MalformedMessage, match=word):
        messages().decode_map(damaged)


def test_a_large_message_is_refused_by_its_size_alone() -> None:
    limits = WireLimits(most_bytes=1000)
    with pytest.raises(MalformedMessage, match="at most 1000"):
        messages().decode_map(memoryview(bytearray(2000)), limits)


def test_a_map_with_text_keys_stays_a_map() -> None:
    import msgpack

    given = {"a": {"__ndarray__": True, "data": b"", "dtype": "<f4", "shape": [0]}}
    assert messages().decode(msgpack.packb(given)) == given
