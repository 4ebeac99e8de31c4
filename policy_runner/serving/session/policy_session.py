"""The pipeline of one connection: requests tick by tick, as in the node's control thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.core.pipeline.pipeline import Pipeline, Step
from policy_runner.robot.feed import feed
from policy_runner.serving.session.request import KeyRule, TickRequest, flat, read_request


class Tick(NamedTuple):
    """The answer of one tick.

    actions: the limited command, float64 [1, elements]; [0, elements] if there is none.
    decision: RUN, HOLD, SAFE_STOP or STARTING.
    reason: why it is not RUN; "" if it is.
    inferred: whether the model ran.
    inference_ns: duration of the inference with the building of its tensors [ns].
    details: see `request.CONTROL`; {} without.
    """

    actions: np.ndarray
    decision: str
    reason: str
    inferred: bool
    inference_ns: int
    details: Mapping[str, np.ndarray]

    def fields(self) -> dict[str, Any]:
        """The fields of an answer, without the timing."""
        return {
            "actions": self.actions,
            "decision": self.decision,
            "reason": self.reason,
            "inferred": self.inferred,
            **self.details,
        }


class PolicySession:
    """One connection: histories, recurrent state, decision and time of its own.

    Time does not pass by itself. It begins at 0, and each tick is one period after the last, or at
    the time that the request states. So a simulator may be faster or slower than the robot.
    """

    def __init__(self, pipeline: Pipeline, rule: KeyRule) -> None:
        """Begin with nothing seen and nothing commanded.

        Args:
            pipeline: of this session alone.
            rule: how the client's keys become inputs.
        """
        self._pipeline = pipeline
        self._rule = rule
        self._now_ns: int | None = None  # of the last tick
        pipeline.activate()

    def read(self, given: Mapping[str, Any]) -> TickRequest:
        """See `read_request`."""
        return read_request(given, self._pipeline.slots, self._rule)

    def reset(self) -> None:
        """Return to the state after connecting."""
        for slot in self._pipeline.slots.values():
            if slot.text is not None:
                slot.text.restart()
        self._pipeline.activate()
        self._now_ns = None

    def answer(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        """Return the fields of the answer to a request, and the time of the inference [ns].

        Raises:
            Refusal: see `read_request` and `tick`.
        """
        request = self.read(given)
        done = self.tick(request)
        fields = done.fields()
        if request.id is not None:
            fields["id"] = request.id
        return fields, done.inference_ns

    def tick(self, request: TickRequest) -> Tick:
        """Feed the request's inputs and compute one tick.

        Raises:
            Refusal: an input does not fit, or the time goes back. Inputs before it were fed.
        """
        if request.reset:
            self.reset()
        pipeline = self._pipeline
        now_ns = self._next_ns(request)
        for name, fields in request.inputs.items():
            try:
                feed(pipeline.slots[name], fields, now_ns)
            except (ValueError, TypeError) as error:  # texts as numbers, or a wrong shape
                raise refuse("", f"inputs.{name}", "numbers", "something else") from error
        self._now_ns = now_ns
        # The pipeline judges inf and NaN itself, as in the node's control thread.
        with np.errstate(all="ignore"):
            step = pipeline.step(now_ns)
        elements = len(pipeline.elements)
        command = step.command
        actions = np.zeros((0, elements)) if command is None else command.reshape(1, -1).copy()
        safety = pipeline.safety
        ran = step.decision.name == "RUN"
        why = "" if ran else ": ".join(filter(None, (safety.reason.value, safety.detail)))
        details = self._details(step) if request.details else {}
        duration = step.inferred_ns - step.observed_ns if step.inferred else 0
        return Tick(actions, step.decision.name, why, step.inferred, duration, details)

    def _next_ns(self, request: TickRequest) -> int:
        period_ns = self._pipeline.settings.period_ns
        if request.time_ns is None:
            return 0 if self._now_ns is None else self._now_ns + period_ns
        if self._now_ns is not None and request.time_ns <= self._now_ns:
            expected = f"more than {self._now_ns / 1e9:g} s, the time of the last tick"
            got = f"{request.time_ns / 1e9:g} s"
            raise refuse("", "the request: time", expected, got, "or reset: true with it")
        return request.time_ns

    def _details(self, step: Step) -> dict[str, np.ndarray]:
        """Observations, raw action and target of an inference; {} without one."""
        if not step.inferred:
            return {}
        policy = self._pipeline.policy
        found = {
            f"observation/{name}": buffer.copy()
            for name, (buffer, _) in policy.observations.items()
        }
        decoder = policy.decoder
        for name, array in (("raw", decoder.raw), ("target", decoder.target)):
            found[name] = array.copy()
        return found


class SessionGroup:
    """Several simulators on one connection, each with a session of its own."""

    def __init__(self, sessions: list[PolicySession]) -> None:
        """Join sessions; row k of every array of a request belongs to session k."""
        self._sessions = sessions

    def reset(self) -> None:
        """Reset every session."""
        for session in self._sessions:
            session.reset()

    def answer(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        """Compute one tick of every session; return the fields of the answer, and the time [ns].

        Every array has the rows first. `reset` is one value for all rows, or one per row; `time`,
        `details`, `id` and texts are for all rows. `actions` are [rows, elements], with NaN where
        there is none.

        Raises:
            Refusal: an array has another number of rows; see `PolicySession.tick`.
        """
        rows = len(self._sessions)
        split = [dict[str, Any]() for _ in range(rows)]
        for key, value in flat(given).items():
            of_all = key in ("time", "details", "id") or key.endswith("/name")
            if of_all or isinstance(value, str) or (key == "reset" and np.ndim(value) == 0):
                for row in split:
                    row[key] = value
                continue
            if np.ndim(value) < 1 or len(value) != rows:
                got = f"shape {np.shape(value)}"
                raise refuse("", f"the request: {key}", f"{rows} rows first", got)
            for row, part in zip(split, value, strict=True):
                row[key] = bool(part) if key == "reset" else part
        requests = [session.read(row) for session, row in zip(self._sessions, split, strict=True)]
        ticks = [session.tick(one) for session, one in zip(self._sessions, requests, strict=True)]
        elements = ticks[0].actions.shape[1]
        none = np.full(elements, np.nan)
        actions = np.stack([one.actions[0] if len(one.actions) else none for one in ticks])
        details = {
            name: np.stack([one.details[name] for one in ticks])
            for name in ticks[0].details
            if all(name in one.details for one in ticks)
        }
        fields = {
            "actions": actions,
            "decision": [one.decision for one in ticks],
            "reason": [one.reason for one in ticks],
            "inferred": np.array([one.inferred for one in ticks]),
            **details,
            **({"id": requests[0].id} if requests[0].id is not None else {}),
        }
        return fields, sum(one.inference_ns for one in ticks)
