"""Executable `simulated_robot`: one process, ends on SIGINT or SIGTERM with its report written."""

from __future__ import annotations

import sys
import threading
from importlib.util import find_spec

from policy_runner.ros.process.lifetime import (
    end_on_signal,
    ignore_further_signals,
    with_usable_log,
)
from policy_runner.ros.process.stderr import PrivateStderr

_END_S = 1.0


def main(args: list[str] | None = None) -> int:
    """Run the simulated robot until its duration is over or a signal comes; the exit status."""
    if find_spec("mujoco") is None:
        _tell("the module mujoco is missing; pip install 'policy_runner[sim]'")
        return 1
    # rclpy's own handlers would shut the context down before the last message.
    ended = end_on_signal()
    stderr = PrivateStderr()
    try:
        return _run(sys.argv if args is None else ["simulated_robot", *args], ended)
    finally:
        stderr.close()
        ignore_further_signals()


def _run(argv: list[str], ended: threading.Event) -> int:
    import rclpy
    import rclpy.utilities
    from rclpy.signals import SignalHandlerOptions

    from policy_runner.ros.process.executor import ExecutorThread
    from policy_runner.ros.simulated_robot.node import SimulatedRobot

    viewer = "--viewer" in rclpy.utilities.remove_ros_args(argv)[1:]
    rclpy.init(
        args=with_usable_log([*argv, *(["--ros-args", "-p", "viewer:=true"] if viewer else [])]),
        signal_handler_options=SignalHandlerOptions.NO,
    )
    try:
        node = SimulatedRobot()
    except ValueError as error:
        for line in str(error).splitlines():
            _tell(line)
        rclpy.utilities.try_shutdown()
        return 1
    failures: list[BaseException] = []

    def simulate() -> None:
        try:
            node.run()
        except BaseException as error:  # noqa: BLE001 - told by the main thread, which ends all
            failures.append(error)
        finally:
            ended.set()

    executor = ExecutorThread(node)
    simulation = threading.Thread(target=simulate, name="simulation", daemon=True)
    executor.start()
    simulation.start()
    ended.wait()
    node.stop()
    simulation.join(_END_S)
    gone = executor.stop(_END_S) and not simulation.is_alive()
    if not gone:
        failures.append(TimeoutError(f"its threads did not end within {_END_S:g} s"))
    try:
        node.write_report()
    except OSError as error:
        failures.append(error)
    for sentence in (node.error, *(f"{type(e).__name__}: {e}" for e in failures)):
        if sentence:
            _tell(sentence)
    if gone:
        node.destroy_node()
    rclpy.utilities.try_shutdown()
    return 1 if node.error or failures else 0


def _tell(sentence: str) -> None:
    sys.stderr.write(f"simulated_robot: {sentence}\n")


if __name__ == "__main__":
    sys.exit(main())
