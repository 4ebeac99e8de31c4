"""A fall after the runner's end is no result of a run that is ended on purpose."""

from __future__ import annotations

import threading
from importlib.util import find_spec
from typing import Any

import pytest
from children import wait_until

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("rclpy", "mujoco")), reason="needs rclpy and mujoco"
)


@pytest.mark.parametrize(("ending_s", "falls"), [(60.0, 0), (0.0, 1)])
def test_the_score_is_that_of_the_last_heartbeat(
    ending_s: float, falls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rclpy
    from rclpy.parameter import Parameter

    from policy_runner.ros.simulated_robot import node as robot_node

    monkeypatch.setattr(robot_node, "ENDING_S", ending_s)
    context = rclpy.Context()
    rclpy.init(context=context)
    robot = robot_node.SimulatedRobot(
        context=context, parameter_overrides=[Parameter("hold", value=False)]
    )
    scenario: Any = robot.world.scenario
    robot.topics.take_statuses = lambda: [1] if scenario.ticks < 5 else []  # type: ignore[method-assign]
    running = threading.Thread(target=robot.run)
    running.start()
    try:
        wait_until(lambda: scenario.score().falls, 30.0)  # without commands it falls
    finally:
        robot.stop()
        running.join(5.0)
        found = robot.report()
        robot.destroy_node()
        context.try_shutdown()
    assert found["falls"] == falls
