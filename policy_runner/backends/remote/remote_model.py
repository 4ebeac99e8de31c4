"""A model on a server as a loaded model: `run` asks the server, with a deadline.

It is for a lane, since `run` waits for the network. A failure of any kind is `InferenceFailed` with
the client's sentence. Then the arrays keep what they had, and the next `run` tries again. Recurrent
states stay with the policy: they travel with each request, so a new server loses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.onnx_file.check import check_model_file
from policy_runner.backends.onnx_file.file_tensors import file_arrays
from policy_runner.backends.remote.client.checked_client import CheckedClient, Contradiction
from policy_runner.backends.remote.client.interface import (
    Arrays,
    Given,
    InferenceClient,
    RemoteError,
    ServerAddress,
    Unreachable,
)
from policy_runner.backends.remote.client.open_client import Backoff, SteadyClient, open_client
from policy_runner.backends.remote.server_options import (
    ASKS,
    in_the_clear,
    server_address,
    shown_address,
)
from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.inputs.text import text_of
from policy_runner.core.model import Buffer, ModelAbilities
from policy_runner.core.spec import ServerTensors, SpecFile, TextTerm
from policy_runner.core.spec.parts import has_several, model_files
from policy_runner.core.timing import Window

DEADLINE_S = 1.0
# A robot holds during a pause, so the longest one is short.
_PAUSES = Backoff(first_s=0.1, most_s=2.0)


_NOWHERE = ServerAddress("http://no-server.invalid/v2/models/none")


class _NoServer:
    """See `InferenceClient`: a client for those who must not ask a server."""

    told: Mapping[str, Any] = MappingProxyType({})

    def connect(self) -> Mapping[str, Any]:
        """Refuse."""
        text = "no server is asked here"
        raise Unreachable(f"{text}: give parameters with backend: remote and remote.url")

    def infer(self, _inputs: Given, _deadline_s: float) -> Arrays:
        """Refuse."""
        self.connect()
        return {}

    def close(self) -> None:
        """Nothing is open."""


class RemoteModel(ModelAbilities):
    """See `LoadedModel`. `run` waits for at most `connect_s` of the address plus the deadline."""

    needs_precision_check = False

    def __init__(
        self,
        address: ServerAddress,
        inputs: Mapping[str, Buffer],
        outputs: Mapping[str, Buffer],
        deadline_s: float = DEADLINE_S,
        client: InferenceClient | None = None,
        texts: Collection[str] = (),
    ) -> None:
        """Keep the address; nothing is sent yet.

        Args:
            address: the server.
            inputs: zeroed arrays, which are sent.
            outputs: zeroed arrays, which the answers fill.
            deadline_s: of one inference, without the time to connect [s].
            client: of that server; None: the one of its protocol.
            texts: names of the inputs, uint8 [bytes], that are sent as texts.

        Raises:
            Refusal: the address does not name what its protocol needs.
        """
        self.sha256 = ""
        self.provider = f"remote {shown_address(address)}"
        self.facts = {"device": "server", "precision": "of the server"}
        self._address = address
        self._deadline_s = deadline_s
        self._inputs, self._outputs = dict(inputs), dict(outputs)
        # A repeated output has one array under several names; the server knows the first one.
        first = {id(array): name for name, array in reversed(list(outputs.items()))}
        wanted = {name: outputs[name] for name in outputs if first[id(outputs[name])] == name}
        self._texts = tuple(texts)
        client = client or open_client(address, tuple(wanted))
        self._checked = CheckedClient(client, address, inputs, wanted, self._texts)
        self._client = SteadyClient(self._checked, _PAUSES)
        self._trips = Window(1000)
        self._last = ""  # the newest failure; '' after an answer

    @property
    def inputs(self) -> Mapping[str, Buffer]:
        """Input tensors by name; the caller writes them in place."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, Buffer]:
        """Output tensors by name; the next answer overwrites them."""
        return self._outputs

    def connect(self) -> None:
        """Connect and compare the tensors. A server that is not there becomes a warning.

        Raises:
            Refusal: the server has other tensors.
        """
        try:
            self._client.connect()
        except Contradiction as error:
            raise Refusal([f"parameter remote.url: {error}"]) from error
        except RemoteError as error:
            self._last = str(error)
            text = "the policy holds until the server answers, and then starts by itself"
            self.facts["warning"] = f"at the start: {error}; {text}"
            return
        self.facts["server tells its tensors"] = "yes" if self._checked.tells else "no"

    def run(self) -> None:
        """Ask the server once; see `Model.run`."""
        begun_ns = time.perf_counter_ns()
        texts = {name: text_of(self._inputs[name]).decode() for name in self._texts}
        try:
            found = self._client.infer({**self._inputs, **texts}, self._deadline_s)
        except RemoteError as error:
            self._last = str(error)
            raise
        self._trips.add(time.perf_counter_ns() - begun_ns)
        self._last = ""
        for name, array in found.items():
            np.copyto(self._outputs[name], array)

    def live_facts(self) -> Mapping[str, str]:
        """Connections, failures and times, for diagnostics."""
        trips, server_ms = self._trips.percentiles(), self._checked.server_ms
        p50, p99 = (f"{ns / 1e6:.3f}" if trips.count else "n/a" for ns in (trips.p50, trips.p99))
        return {
            "server": "failed" if self._last else "answers" if trips.count else "not asked yet",
            "newest failure": self._last or "none",
            "connections": str(self._client.connections),
            "failures in a row": str(self._client.failures),
            "round trip p50 [ms]": p50,
            "round trip p99 [ms]": p99,
            "server time [ms]": "n/a" if server_ms is None else f"{server_ms:.3f}",
        }

    def warm_up(self, runs: int = 3) -> None:
        """Nothing: a server may keep a state, so it is asked for the robot's observations only."""

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def load_remote(choice: BackendChoice, spec_file: SpecFile) -> RemoteModel:
    """Make the model of a spec that a server has.

    Args:
        choice: with the parameters `remote.*`.
        spec_file: has the tensors, or the file that has them. Its weights are not needed.

    Raises:
        Refusal: the parameters, the file or the spec cannot be used, or the server contradicts it.
    """
    spec = spec_file.spec
    choice.check()
    if has_several(spec):
        expected = "a policy of one model for backend: remote"
        got = f"{len(model_files(spec))} models"
        raise refuse(str(spec_file.path), "model", expected, got, "join them into one model")
    asks = bool(choice.option(ASKS, True))
    address = server_address(choice) if asks else _NOWHERE
    sha256, texts = "", []
    if spec.model.tensors is not None:
        texts = text_names(spec_file, spec.model.tensors)
        inputs, outputs = stated_arrays(spec.model.tensors)
    else:
        path = spec_file.next_to(spec.model.file, "model.file")
        sha256 = check_model_file(path, spec.model.sha256, spec_file.path)
        inputs, outputs = file_arrays(path)
    deadline_s = float(choice.option("remote.deadline", DEADLINE_S))
    client = None if asks else _NoServer()
    model = RemoteModel(address, inputs, outputs, deadline_s, client, texts)
    model.sha256 = sha256
    try:
        if asks:
            model.connect()
    except BaseException:
        model.close()
        raise
    warnings = [model.facts.get("warning", ""), in_the_clear(address)]
    if any(warnings):
        model.facts["warning"] = "; ".join(filter(None, warnings))
    return model


def stated_arrays(tensors: ServerTensors) -> tuple[dict[str, Buffer], dict[str, Buffer]]:
    """Return zeroed arrays for the inputs and outputs that a spec states; a text is uint8."""
    inputs = {
        name: np.zeros(one.shape, np.dtype("uint8" if one.dtype == "text" else one.dtype))
        for name, one in tensors.inputs.items()
    }
    outputs = {
        name: np.zeros(one.shape, np.dtype(one.dtype)) for name, one in tensors.outputs.items()
    }
    return inputs, outputs


def text_names(spec_file: SpecFile, tensors: ServerTensors) -> list[str]:
    """Return the inputs that are sent as texts.

    Raises:
        Refusal: one has several axes, or is not exactly one term `text`.
    """
    found = [name for name, one in tensors.inputs.items() if one.dtype == "text"]
    problems: list[Problem | str] = []
    for name in found:
        key, shape = f"model.tensors.inputs.{name}", tensors.inputs[name].shape
        if len(shape) != 1:
            expected = "[bytes], one size, for a text"
            problems.append(Problem(str(spec_file.path), f"{key}.shape", expected, f"{shape}"))
        for given in spec_file.spec.observation:
            if given.tensor == name and not (
                isinstance(given.whole, TextTerm) and given.history is None
            ):
                expected = f"`whole: {{term: text, ...}}` for the tensor '{name}', which is a text"
                problems.append(Problem(str(spec_file.path), key, expected, "something else"))
    if problems:
        raise Refusal(problems)
    return found
