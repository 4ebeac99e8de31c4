"""A client whose server must have the tensors that are expected of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from policy_runner.backends.remote.client.interface import (
    Arrays,
    Garbled,
    Given,
    InferenceClient,
    RemoteError,
    ServerAddress,
)
from policy_runner.backends.remote.protocols.bounds import WireLimits, shown
from policy_runner.backends.remote.protocols.v2_messages import DATATYPES, TEXTS

Tensors = Mapping[str, np.ndarray]  # arrays of the expected dtypes and shapes
_TIMES = ("total_ms", "infer_ms", "inference_ms")
_MOST_MS = 1e9  # of a time that is believed


class Contradiction(RemoteError):
    """The server has other tensors than the policy."""


class CheckedClient:
    """See `interface.InferenceClient`.

    What the server tells about its tensors is compared at every connection, since another model
    may answer after a restart. Each answer is compared, too: openpi's servers tell nothing.

    Attributes:
        tells: the server has told its tensors, at the newest connection.
    """

    def __init__(
        self,
        client: InferenceClient,
        address: ServerAddress,
        inputs: Tensors,
        outputs: Tensors,
        texts: Collection[str] = (),
    ) -> None:
        """Wrap a client.

        Args:
            client: used by this object alone.
            address: of its server, for messages.
            inputs: what will be sent.
            outputs: what every answer must have.
            texts: names of the inputs that are texts.
        """
        self._texts = texts
        self._text_shapes: dict[str, list[int]] = {}  # as the server told them
        self._client = client
        self._where = f"{address.host}:{address.port}"
        self._inputs, self._outputs = inputs, outputs
        self.tells = False

    @property
    def told(self) -> Mapping[str, Any]:
        """See `InferenceClient.told`."""
        return self._client.told

    @property
    def server_ms(self) -> float | None:
        """The server's own time for the newest answer [ms]; None: it told none."""
        timing = self.told.get("server_timing")  # of openpi; protocol v2 has parameters
        for source in (timing if isinstance(timing, Mapping) else {}, self.told):
            for key in _TIMES:
                value = source.get(key)
                # A whole number of JSON may be too large for a float.
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    return float(value) if abs(value) < _MOST_MS else None
        return None

    def connect(self) -> Mapping[str, Any]:
        """See `InferenceClient.connect`.

        Raises:
            Contradiction: the server's tensors are others; the connection is closed.
        """
        metadata = self._client.connect()
        try:
            self._compare(metadata)
        except RemoteError:
            self._client.close()
            raise
        return metadata

    def infer(self, inputs: Given, deadline_s: float) -> Arrays:
        """See `InferenceClient.infer`; only the expected outputs are returned."""
        shaped = {n: np.array(inputs[n]).reshape(shape) for n, shape in self._text_shapes.items()}
        answer = self._client.infer({**inputs, **shaped}, deadline_s)
        try:
            found = {name: self._output(name, answer) for name in self._outputs}
        except RemoteError:
            self._client.close()
            raise
        return found

    def close(self) -> None:
        """See `InferenceClient.close`."""
        self._client.close()

    def _output(self, name: str, answer: Arrays) -> np.ndarray:
        wanted, got = self._outputs[name], answer.get(name)
        if got is None and name in self.told:
            text = f"{self._where}: '{name}' of the answer is no array"
            raise Garbled(f"{text}; use the right server")
        if got is None:
            names = ", ".join(shown(one) for one in answer) or "no arrays"
            text = f"{self._where}: an answer without '{name}' (it has {names[:300]})"
            raise Contradiction(f"{text}; correct the policy spec, or use the right server")
        if got.shape != wanted.shape or got.dtype != wanted.dtype:
            text = f"expected {_kind(wanted)}, got {_kind(got)}"
            text = f"{self._where}: output '{name}': {text}"
            raise Contradiction(f"{text}; correct the policy spec, or use the right server")
        return got

    def _compare(self, metadata: Mapping[str, Any]) -> None:
        """Compare with metadata of the Open Inference Protocol; others tell no tensors."""
        told = {key: metadata.get(key) for key in ("inputs", "outputs")}
        self._text_shapes.clear()
        self.tells = all(isinstance(rows, list) and rows for rows in told.values())
        if not self.tells:
            return
        for key, wanted in (("inputs", self._inputs), ("outputs", self._outputs)):
            found = {}
            for row in told[key] or ():
                if not isinstance(row, Mapping) or not _is_shape(row.get("shape")):
                    text = f"{self._where}: metadata whose {key} have no names and shapes"
                    raise Garbled(f"{text}; is it such a server?")
                found[str(row.get("name"))] = row
            missing = [name for name in wanted if name not in found]
            # An input that is not sent would be refused at every inference.
            extra = [name for name in found if key == "inputs" and name not in wanted]
            if missing or extra:
                has = ", ".join(shown(one) for one in found)[:300]
                ours = ", ".join(wanted)
                text = f"{self._where}: the server's {key} are {has}, the policy's are {ours}"
                raise Contradiction(f"{text}; correct the policy spec, or name the right model")
            for name, array in wanted.items():
                if key == "inputs" and name in self._texts:
                    self._fits_text(name, found[name])
                else:
                    self._fits(key.removesuffix("s"), name, array, found[name])

    def _fits(self, what: str, name: str, array: np.ndarray, row: Mapping[str, Any]) -> None:
        datatype, shape = str(row.get("datatype")), list(row["shape"])
        fits = DATATYPES.get(datatype) == array.dtype and len(shape) == array.ndim
        # -1 is an open size.
        if fits and all(a in (-1, b) for a, b in zip(shape, array.shape, strict=True)):
            return
        expected = str(DATATYPES.get(datatype, shown(datatype)))
        text = f"{self._where}: {what} '{name}': the server has {expected} {shown(shape)}"
        text = f"{text}, the policy {_kind(array)}"
        raise Contradiction(f"{text}; correct the policy spec, or name the right model")

    def _fits_text(self, name: str, row: Mapping[str, Any]) -> None:
        shape = [1 if size == -1 else size for size in row["shape"]]
        if str(row.get("datatype")) == TEXTS and all(size == 1 for size in shape):
            self._text_shapes[name] = shape
            return
        has = f"{shown(row.get('datatype'))} {shown(row['shape'])}"
        text = f"{self._where}: input '{name}': the server has {has}, the policy one text"
        raise Contradiction(f"{text} (BYTES [1]); correct the policy spec, or name the right model")


def _is_shape(given: object) -> bool:
    if not isinstance(given, list) or len(given) > WireLimits.most_axes:
        return False
    return all(type(size) is int for size in given)


def _kind(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"
