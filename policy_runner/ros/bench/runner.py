"""The node under benchmark: the real node, with a record of every tick of its loop."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from policy_runner.core.pipeline.pipeline import Step
from policy_runner.ros.bench.recorder import Recorder, oldest_age_ns
from policy_runner.ros.process.realtime import prepare_process


def _parameters(options: argparse.Namespace) -> list[Any]:
    from rclpy.parameter import Parameter

    values = {
        "policy": str(options.spec),
        "rate": options.rate,
        "allow_rate_mismatch": True,
        "require_arming": False,
        "realtime.priority": options.priority,
        "realtime.lock_memory": options.lock_memory,
        **{name: yaml.safe_load(value) for name, value in map(_pair, options.set)},
    }
    return [Parameter(name, value=value) for name, value in values.items()]


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def main(argv: list[str] | None = None) -> int:
    """Run for the given time and write an .npz; returns 1 if the loop did not run to the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--priority", type=int, default=0)
    parser.add_argument("--lock-memory", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="PARAMETER=VALUE")
    parser.add_argument("--executor-load", action="store_true", help="3 ms of Python every 10 ms")
    options = parser.parse_args(argv)
    begun = time.monotonic()
    granted = prepare_process(options.priority, [], options.lock_memory)

    import rclpy
    from rclpy.lifecycle import TransitionCallbackReturn
    from rclpy.signals import SignalHandlerOptions

    from policy_runner.ros.process.executor import ExecutorThread
    from policy_runner.ros.runner.node import PolicyRunner

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = PolicyRunner(granted, parameter_overrides=_parameters(options))
    if options.executor_load:
        node.create_timer(0.01, _three_milliseconds)
    executor = ExecutorThread(node)
    if node.trigger_configure() != TransitionCallbackReturn.SUCCESS:
        return 1
    recorder = Recorder(options.seconds, options.rate)
    node.trigger_activate()
    to_active_s = time.monotonic() - begun
    loop = node.loop
    if loop is None:
        return 1

    def record(_step: Step, now_ns: int) -> None:
        # Read the loop's pipeline at each tick, because a reload replaces it.
        recorder.tick(now_ns, oldest_age_ns(loop.pipeline.slots.values(), now_ns))

    loop.observe(record)
    executor.start()
    give_up = time.monotonic() + options.seconds + 30.0
    while not recorder.done and time.monotonic() < give_up:
        time.sleep(0.1)
    parts = {name: window.percentiles() for name, window in loop.windows.items()}
    node.end(1.0)
    recorder.write(
        options.out,
        to_active_s=to_active_s,
        priority=granted.priority,
        lock_memory=granted.lock_memory,
        missed_by_loop=loop.missed,
        inferences=loop.pipeline.inferences,
        parts_us={n: [p.p50 / 1e3, p.p99 / 1e3, p.p999 / 1e3] for n, p in parts.items()},
    )
    if executor.stop(0.5):
        node.free()
        node.destroy_node()
    rclpy.try_shutdown()
    return 0 if recorder.done and loop.pipeline.inferences else 1


def _three_milliseconds() -> None:
    end = time.monotonic() + 0.003
    while time.monotonic() < end:
        sum(range(50))


if __name__ == "__main__":
    sys.exit(main())
