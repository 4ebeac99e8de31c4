"""A model that makes chunks: noise, the denoising loop and the older chunk around its graph.

It looks like any loaded model: `run` leaves a whole chunk in the output. So the policy around it is
the same as for small models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from policy_runner.core.chunks.chunk_decoder import ChunkDecoder
from policy_runner.core.chunks.denoising import Guidance, Noise, Real, TrainedPrefix, denoise
from policy_runner.core.chunks.prefix import leftover
from policy_runner.core.errors import refuse
from policy_runner.core.model import Array, Buffer, Model, ModelAbilities, StateTensors
from policy_runner.core.spec import Chunk, PolicySpec


def named(given: str | int, tensors: Mapping[str, Buffer], file: str, key: str) -> Buffer:
    """The tensor with that name or position.

    Raises:
        Refusal: there is none.
    """
    name = list(tensors)[given] if isinstance(given, int) and given < len(tensors) else given
    if name not in tensors:
        raise refuse(file, key, f"a tensor of the model ({', '.join(tensors)})", f"'{given}'")
    return tensors[str(name)]


class ChunkModel(ModelAbilities):
    """A loaded model, and what the runner does around its graph for a chunk.

    `begin` tells the times of the next run, `advance` keeps its chunk as the older one, and `reset`
    drops it. `advance` and `reset` have the names of the policy's counters, so the policy calls
    them.
    """

    def __init__(self, model: Model, spec: PolicySpec, file: str) -> None:
        """Find the tensors that the chunk of the spec names.

        Args:
            model: the loaded model.
            spec: the policy's spec; it has a chunk.
            file: the spec file, for error messages.

        Raises:
            Refusal: a tensor is missing, or has another size than the chunk needs.
        """
        chunk = spec.chunk
        assert chunk is not None
        self._model, self._chunk = model, chunk
        self.inputs: Mapping[str, Buffer] = model.inputs
        outputs = dict(model.outputs)
        self._noise = []
        for k, one in enumerate(chunk.noise):
            tensor = named(one.tensor, model.inputs, file, f"chunk.noise[{k}].tensor")
            self._noise.append((tensor, Noise(one.seed, tensor.shape)))
        self._flow: _Flow | None = None
        if chunk.denoise is not None:
            velocity = named(spec.action[0].tensor, model.outputs, file, "action[0].tensor")
            self._flow = _Flow(model, chunk, velocity, file)
            name = next(name for name, one in outputs.items() if one is velocity)
            outputs[name] = self._flow.result
        self.outputs: Mapping[str, Buffer] = outputs
        self._previous = _previous_inputs(chunk, model, file)
        self._decoder: ChunkDecoder | None = None
        self._chunk_of: Callable[[], Array] | None = None
        self._older: Array | None = None  # raw, [T, columns]
        self._older_anchor = np.zeros(0)
        self._anchor = np.zeros(0)
        self._older_ns = self._observed_ns = 0
        self._latency_ns = 0

    def use(self, decoder: ChunkDecoder, chunk_of: Callable[[], Array]) -> None:
        """Use the decoder's units for the older chunk.

        Args:
            decoder: decodes this model's outputs.
            chunk_of: returns the newest raw chunk, [T, columns].
        """
        self._decoder, self._chunk_of = decoder, chunk_of

    def begin(self, observed_ns: int, latency_ns: int) -> None:
        """Tell the time of the next run's observation, and the latency to expect [ns]."""
        self._observed_ns, self._latency_ns = observed_ns, latency_ns

    def run(self) -> None:
        """Compute a chunk from the inputs."""
        for tensor, noise in self._noise:
            np.copyto(tensor, noise.next(), casting="unsafe")
        if self._decoder is not None:
            self._anchor = self._decoder.anchor().copy()
        remaining, shift = self._remaining()
        delay = min(delay_steps(self._latency_ns, self._dt_ns), len(remaining))
        if self._previous is not None:
            self._previous.fill(remaining, delay)
        if self._flow is None:
            self._model.run()
            return
        self._flow.run(self._prefix(remaining, delay, shift))

    @property
    def _dt_ns(self) -> int:
        return round(self._chunk.dt * 1e9)

    def _remaining(self) -> tuple[Array, float]:
        """(the older chunk from the observation on, raw [n, columns]; its shift in steps)."""
        decoder, older = self._decoder, self._older
        wanted = self._chunk.rtc is not None or self._previous is not None
        if not wanted or older is None or decoder is None:
            return np.zeros((0, 0)), 0.0
        shift = (self._observed_ns - self._older_ns) / self._dt_ns
        if shift < 0.0:  # the clock jumped
            return older[:0], 0.0
        units = older.copy()
        columns = decoder.columns
        usable = decoder.scale != 0.0
        scale = np.where(usable, decoder.scale, 1.0)
        units[:, columns] = units[:, columns] * scale + decoder.offset
        # Relative actions start from the state of their own observation.
        units[:, columns[decoder.relative]] += self._older_anchor[decoder.relative]
        rest = leftover(units, shift)
        count = len(rest)
        rest[:, columns[decoder.relative]] -= self._anchor[decoder.relative]
        rest[:, columns] = (rest[:, columns] - decoder.offset[:count]) / scale[:count]
        return rest, shift

    def _prefix(
        self, remaining: Array, delay: int, shift: float
    ) -> Guidance | TrainedPrefix | None:
        rtc = self._chunk.rtc
        if rtc is None or not len(remaining):
            return None
        if rtc.method == "trained":
            if rtc.max_delay is not None and delay > rtc.max_delay:
                return None
            return TrainedPrefix(remaining, delay)
        end = rtc.horizon if rtc.horizon is not None else delay + int(np.ceil(shift))
        return Guidance(remaining, delay, max(end, delay), rtc.schedule, rtc.max_gain)

    def advance(self) -> None:
        """Keep the newest chunk as the older one of the next run."""
        if self._chunk_of is not None and (self._chunk.rtc or self._previous):
            self._older = self._chunk_of()
            self._older_ns, self._older_anchor = self._observed_ns, self._anchor

    def reset(self) -> None:
        """Drop the older chunk; noise begins at its start."""
        self._older = None
        for _, noise in self._noise:
            noise.reset()
        if self._flow is not None:
            self._flow.noise.reset()

    def keep_states(self, states: Sequence[StateTensors]) -> Callable[[], None] | None:
        """See `Model.keep_states`."""
        return self._model.keep_states(states)

    def take_log(self) -> Sequence[str]:
        """See `Model.take_log`."""
        return self._model.take_log()


def delay_steps(latency_ns: int, dt_ns: int) -> int:
    """The committed actions of a latency: its action steps, rounded up."""
    return -(-latency_ns // dt_ns)


class _Flow:
    """The denoising loop around a graph that is one step of it."""

    def __init__(self, model: Model, chunk: Chunk, velocity: Buffer, file: str) -> None:
        given = chunk.denoise
        assert given is not None
        self._model, self._given, self._velocity = model, given, velocity
        self._x = named(given.input, model.inputs, file, "chunk.denoise.input")
        self._time = named(given.time, model.inputs, file, "chunk.denoise.time")
        if self._x.size != velocity.size:
            expected = f"an input of {velocity.size} elements, as the velocity has"
            raise refuse(file, "chunk.denoise.input", expected, f"{self._x.size}")
        trained = chunk.rtc is not None and chunk.rtc.method == "trained"
        self._width = velocity.shape[-1] if velocity.ndim > 1 else 0
        if not self._width:
            self._width = velocity.size // (chunk.steps or velocity.size)
        self._length = velocity.size // self._width
        if trained and self._time.size != self._length:
            expected = f"{self._length} numbers, one per action, for rtc.method trained"
            raise refuse(file, "chunk.denoise.time", expected, f"{self._time.size}")
        kind = velocity.dtype if velocity.dtype in (np.float32, np.float64) else np.float32
        self.result = np.zeros(velocity.shape, dtype=kind)
        self.noise = Noise(given.seed, (self._length, self._width))

    def run(self, prefix: Guidance | TrainedPrefix | None) -> None:
        """Write a chunk into `result`."""
        noise = self.noise.next().astype(self.result.dtype)
        given = self._given
        made = denoise(self._field, noise, given.steps, given.convention, prefix)
        np.copyto(self.result, made.reshape(self.result.shape))

    def _field(self, x: Real, time: float | Real) -> Real:
        np.copyto(self._x, x.reshape(self._x.shape), casting="unsafe")
        flat = self._time.reshape(-1)
        np.copyto(flat, time, casting="unsafe")
        self._model.run()
        return self._velocity.reshape(self._length, self._width).astype(x.dtype)


class _PreviousInputs:
    """The inputs of a model that continues the older chunk by itself."""

    def __init__(self, chunk: Buffer, delay: Buffer | None, mask: Buffer | None, most: int) -> None:
        self._chunk, self._delay, self._mask, self._most = chunk, delay, mask, most

    def fill(self, remaining: Array, delay: int) -> None:
        """Write the rest of the older chunk, raw [n, columns], and its committed length."""
        if delay > self._most:
            remaining, delay = remaining[:0], 0
        self._chunk.fill(0)
        if len(remaining):
            steps = self._chunk.size // remaining.shape[1]
            rows = self._chunk.reshape(steps, -1)
            rows[: len(remaining)] = remaining[:steps]
        if self._delay is not None:
            self._delay.fill(delay)
        if self._mask is not None:
            flat = self._mask.reshape(-1)
            flat[:] = 0
            flat[:delay] = 1


def _previous_inputs(chunk: Chunk, model: Model, file: str) -> _PreviousInputs | None:
    given = chunk.previous
    if given is None:
        return None

    def tensor(key: str) -> Buffer | None:
        name = getattr(given, key)
        return None if name is None else named(name, model.inputs, file, f"chunk.previous.{key}")

    older = tensor("tensor")
    assert older is not None
    most = given.max_delay if given.max_delay is not None else 10**9
    return _PreviousInputs(older, tensor("delay"), tensor("mask"), most)
