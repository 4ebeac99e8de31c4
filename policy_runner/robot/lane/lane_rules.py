"""Which lane the parameters and the spec ask for, and its rules."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from policy_runner.core.errors import Problem
from policy_runner.core.lane.interface import LaneRules
from policy_runner.core.spec import PolicySpec
from policy_runner.robot.config import InferenceConfig, RobotConfig
from policy_runner.robot.parameters.inference import INFERENCE_ROWS

LOCKSTEP_WAITS_S = 60.0  # for a result; then lockstep continues without it


def lane_kind(config: RobotConfig, spec: PolicySpec) -> str:
    """Return control, thread or process; "" if every inference runs in the tick, without a lane.

    `auto` is decided by the spec and the backend, never by a measurement: the same policy runs the
    same way on every start. A server is never waited for in the tick.
    """
    lane, chunked = config.inference.lane, spec.chunk is not None
    if config.backend.backend == "remote" and lane != "thread":
        return "process"
    if lane == "auto":
        lane = "process" if chunked else "control"
    return lane if chunked or lane != "control" else ""


def lane_problems(config: RobotConfig, spec: PolicySpec, kind: str) -> list[Problem | str]:
    """Return the problems of the parameters `inference.*` with this policy."""
    given, problems = config.inference, _lead_problems(config, spec)
    problems += _remote_problems(config, spec)
    if not kind:
        expected = "not set, since this policy infers in the tick"
        remedy = "set inference.lane to thread or process, or leave it out"
        return problems + [
            Problem("", f"parameter {name}", expected, f"{value}", remedy)
            for name, value in _set(given).items()
        ]
    if spec.switch is not None:
        expected = "auto or control, since the spec has a `switch`"
        problems.append(Problem("", "parameter inference.lane", expected, kind))
    for name, start in (("every", "every"), ("remaining", "at_remaining")):
        value = _set(given).get(f"inference.{name}")
        if value is not None and given.start != start:
            expected = f"not set, since only inference.start: {start} reads it"
            problems.append(Problem("", f"parameter inference.{name}", expected, f"{value}"))
    if given.start == "at_remaining" and spec.chunk is None:
        expected = "when_free or every, since this policy has no chunks"
        problems.append(Problem("", "parameter inference.start", expected, given.start))
    if given.simulated_latency_ns >= given.timeout_ns:
        expected = f"less than inference.timeout ({given.timeout_ns / 1e9:g} s)"
        got = f"{given.simulated_latency_ns / 1e9:g}"
        problems.append(Problem("", "parameter inference.simulated_latency", expected, got))
    if given.cpu_affinity and kind != "process":
        expected = "empty, since only inference.lane: process reads it"
        got = f"{list(given.cpu_affinity)}"
        problems.append(Problem("", "parameter inference.cpu_affinity", expected, got))
    missing = [one for one in given.cpu_affinity if one >= (os.cpu_count() or 1)]
    if missing:
        expected = f"cores from 0 to {(os.cpu_count() or 1) - 1}"
        problems.append(Problem("", "parameter inference.cpu_affinity", expected, f"{missing}"))
    if config.loop.publish_vectors and kind != "control":
        expected = f"false, since the tensors are in the {kind} of the lane"
        problems.append(Problem("", "parameter publish_vectors", expected, "true"))
    return problems


def _remote_problems(config: RobotConfig, spec: PolicySpec) -> list[Problem | str]:
    """Return the problems of a model on a server with the lane."""
    if config.backend.backend != "remote":
        return []
    given, option = config.inference, config.backend.option
    problems: list[Problem | str] = []
    if given.lane == "control":
        expected = "auto, process or thread, since a tick must not wait for a server"
        problems.append(Problem("", "parameter inference.lane", expected, given.lane))
    runs = 1
    if spec.chunk is not None and spec.chunk.denoise is not None:
        runs = spec.chunk.denoise.steps
    deadline_s, connect_s = option("remote.deadline", 1.0), option("remote.connect_timeout", 0.5)
    # Otherwise the lane would end its process for a slow server.
    if connect_s + runs * deadline_s >= given.timeout_ns / 1e9:
        most_s = (given.timeout_ns / 1e9 - connect_s) / runs
        each = f", for each of {runs} denoising steps" if runs > 1 else ""
        expected = (
            f"less than {max(most_s, 0.0):g} s{each}, so that it ends before inference.timeout "
            f"({given.timeout_ns / 1e9:g} s), with remote.connect_timeout ({connect_s:g} s)"
        )
        key, remedy = "parameter remote.deadline", "lower it, or raise inference.timeout"
        problems.append(Problem("", key, expected, f"{deadline_s:g}", remedy))
    return problems


def _lead_problems(config: RobotConfig, spec: PolicySpec) -> list[Problem | str]:
    """Return why chunks cannot be sent as trajectories, if the parameters ask for it."""
    lead_ns = config.command.trajectory_lead_ns
    kinds = {group.kind for tensor in spec.action for group in tensor.groups}
    why = ""
    if spec.chunk is None:
        why = "this policy has no chunks"
    elif kinds != {"position"} or config.command.effort_from_pd or config.command.held_joints:
        why = "only positions that the policy commands become trajectories"
    elif config.loop.lockstep:
        why = "lockstep needs an answer in every tick"
    elif config.command.stamp == "zero":
        why = "the stamp of a trajectory is ahead, and command.stamp is zero"
    if not lead_ns or not why:
        return []
    key = "parameter command.trajectory_lead"
    return [Problem("", key, f"0.0, since {why}", f"{lead_ns / 1e9:g}")]


def _set(given: InferenceConfig) -> dict[str, Any]:
    """Return the parameters that differ from their defaults, by name, without the lane."""
    found: dict[str, Any] = {}
    defaults = {row.name: row.default for row in INFERENCE_ROWS}
    for one in fields(given):
        value: Any = getattr(given, one.name)
        name = "inference." + one.name.removesuffix("_ns")
        if one.name.endswith("_ns") and value is not None:
            value /= 1e9
        if name != "inference.lane" and value != defaults[name]:
            found[name] = value
    return found


def lane_rules(config: RobotConfig, spec: PolicySpec, offline: bool) -> LaneRules:
    """Return the rules of the lane.

    Args:
        config: the parameters.
        spec: the policy.
        offline: without a clock that continues meanwhile, as in lockstep.
    """
    given = config.inference
    control_dt_ns = round(spec.control_dt * 1e9)
    # A policy without chunks was trained with one inference per step.
    every_ns = control_dt_ns if spec.chunk is None else 0
    if given.start == "every":
        every_ns = given.every_ns or control_dt_ns
    waits = offline or config.loop.lockstep
    return LaneRules(
        start=given.start,
        every_ns=every_ns,
        remaining_ns=given.remaining_ns or 0,
        simulated_latency_ns=given.simulated_latency_ns,
        timeout_ns=given.timeout_ns,
        tolerance_ns=given.tolerance_ns,
        reset_after_ns=config.safety.reset_after_ns,
        frame_ns=control_dt_ns if spec.chunk is None else round(spec.chunk.dt * 1e9),
        waits_s=LOCKSTEP_WAITS_S if waits else 0.0,
        lead_ns=config.command.trajectory_lead_ns,
    )


def lane_cores(config: RobotConfig, values: Mapping[str, Any]) -> list[int]:
    """Return the cores of the inference process; empty: all.

    Those of the node stay free if they are named and others are left.
    """
    if config.inference.cpu_affinity:
        return list(config.inference.cpu_affinity)
    own = set(values.get("realtime.cpu_affinity") or ())
    others = [core for core in range(os.cpu_count() or 1) if core not in own]
    return others if own else []
