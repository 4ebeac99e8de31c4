"""Executable `simulated_robot`: one process; writes its report when it ends on a signal."""

from __future__ import annotations

import sys
import threading
import time

from policy_runner.core.errors import Refusal
from policy_runner.ros.process.lifetime import (
    ENDED_WELL,
    GONE_WITHIN_S,
    START_REFUSED,
    EndRequest,
    end_on_signal,
    force_end_after,
    ignore_further_signals,
)
from policy_runner.ros.process.stderr import PrivateStderr
from policy_runner.ros.process.usage import answered
from policy_runner.sim.with_mujoco import need_mujoco

NODE_NAME = "simulated_robot"
_END_S = 1.5
_FAILED = 1
_WHAT = "The simulated balancing robot of the demo. --viewer shows it in a window."


def main(args: list[str] | None = None) -> int:
    """Run the simulated robot until its duration is over or a signal comes.

    Returns:
        The exit status.
    """
    arguments = sys.argv if args is None else [NODE_NAME, *args]
    if (status := answered(NODE_NAME, arguments, _WHAT, options=("--viewer",))) is not None:
        return status
    # rclpy's own handlers would shut the context down before the last message.
    ended = end_on_signal(at_once=True)
    try:
        need_mujoco()
    except Refusal as refusal:
        _tell(str(refusal))
        return _FAILED
    stderr = PrivateStderr()
    try:
        return _run(arguments, ended)
    finally:
        stderr.close()
        ignore_further_signals()


def _run(argv: list[str], ended: EndRequest) -> int:
    import rclpy
    import rclpy.utilities

    from policy_runner.ros.process.executor import ExecutorThread
    from policy_runner.ros.process.start import start_ros
    from policy_runner.ros.simulated_robot.node import SimulatedRobot

    ended.at_once = False
    if ended.is_set():
        return ENDED_WELL
    # `--viewer` is not a ROS argument; convert it into the parameter.
    viewer = "--viewer" in argv[1:]
    words = [word for word in argv if word != "--viewer"]
    words += ["--ros-args", "-p", "viewer:=true"] if viewer else []
    if not start_ros(NODE_NAME, words):
        return START_REFUSED
    try:
        node = SimulatedRobot()
    except ValueError as error:
        for line in str(error).splitlines():
            _tell(line)
        rclpy.utilities.try_shutdown()
        return _FAILED
    failures: list[BaseException] = []

    def simulate() -> None:
        try:
            node.run()
        except BaseException as error:  # noqa: BLE001 - the main thread reports it and ends
            failures.append(error)
        finally:
            ended.set()

    executor = ExecutorThread(node)
    simulation = threading.Thread(target=simulate, name="simulation", daemon=True)
    executor.start()
    simulation.start()
    ended.wait()
    force_end_after(GONE_WITHIN_S, _FAILED)
    until = time.monotonic() + _END_S
    node.stop()
    simulation.join(_END_S / 2)
    # Half of the time left: `stop` uses this timeout at most twice.
    gone = executor.stop((until - time.monotonic()) / 2) and not simulation.is_alive()
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
    return _FAILED if node.error or failures else ENDED_WELL


def _tell(sentence: str) -> None:
    sys.stderr.write(f"{NODE_NAME}: {sentence}\n")


if __name__ == "__main__":
    sys.exit(main())
