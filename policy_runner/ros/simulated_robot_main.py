"""Executable `simulated_robot`: one process, ends on SIGINT or SIGTERM with its report written."""

from __future__ import annotations

import sys
import threading
from importlib.util import find_spec

import rclpy
import rclpy.utilities
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from policy_runner.ros.ending import end_on_signal, ignore_further_signals


def main(args: list[str] | None = None) -> int:
    """Run the simulated robot until its duration is over or a signal comes; the exit status."""
    argv = sys.argv if args is None else ["simulated_robot", *args]
    if find_spec("mujoco") is None:
        _tell("the module mujoco is missing; pip install 'policy_runner[sim]'")
        return 1
    viewer = "--viewer" in rclpy.utilities.remove_ros_args(argv)[1:]
    ended = end_on_signal()
    rclpy.init(
        args=[*argv, *(["--ros-args", "-p", "viewer:=true"] if viewer else [])],
        signal_handler_options=SignalHandlerOptions.NO,
    )
    try:
        return _run(ended)
    finally:
        rclpy.utilities.try_shutdown()
        ignore_further_signals()


def _run(ended: threading.Event) -> int:
    from policy_runner.ros.simulated_robot import SimulatedRobot

    try:
        node = SimulatedRobot()
    except ValueError as error:
        for line in str(error).splitlines():
            _tell(line)
        return 1
    failures: list[BaseException] = []

    def simulate() -> None:
        try:
            node.run()
        except BaseException as error:  # noqa: BLE001 - told by the main thread, which ends the process
            failures.append(error)
        finally:
            ended.set()

    executor = SingleThreadedExecutor()
    executor.add_node(node)
    serving = threading.Thread(target=_serve, args=(executor, ended), name="executor")
    simulation = threading.Thread(target=simulate, name="simulation")
    serving.start()
    simulation.start()
    ended.wait()
    node.stop()
    simulation.join(timeout=2.0)
    if simulation.is_alive():
        failures.append(TimeoutError("the simulation's thread did not end within 2 s"))
    executor.shutdown()
    serving.join(timeout=2.0)
    try:
        node.write_report()
    except OSError as error:
        failures.append(error)
    for sentence in (node.error, *(f"{type(e).__name__}: {e}" for e in failures)):
        if sentence:
            _tell(sentence)
    status = 1 if node.error or failures else 0
    node.destroy_node()
    return status


def _serve(executor: SingleThreadedExecutor, ended: threading.Event) -> None:
    while not ended.is_set():
        try:
            executor.spin_once(timeout_sec=0.2)
        except Exception as error:  # noqa: BLE001 - a bad service call must not end the others
            if not ended.is_set():
                _tell(f"executor: {error}")


def _tell(sentence: str) -> None:
    sys.stderr.write(f"simulated_robot: {sentence}\n")


if __name__ == "__main__":
    sys.exit(main())
