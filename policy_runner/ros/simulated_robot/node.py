"""The simulated robot as a ROS node: real time, or lockstep by stamp on simulated time.

The simulation runs in its own thread (`SimulatedRobot.run`), which also takes the commands. The
executor only serves parameters.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node

from policy_runner.ros.diagnostics.source import status_source
from policy_runner.ros.messages.topics import COMMAND_TOPIC
from policy_runner.ros.parameters.declared import declare_table
from policy_runner.ros.parameters.unknown_names import RefusesUnknownNames
from policy_runner.ros.simulated_robot.heartbeat import Heartbeat
from policy_runner.ros.simulated_robot.lockstep import LockstepAnswers
from policy_runner.ros.simulated_robot.parameters import PARAMETERS
from policy_runner.ros.simulated_robot.topics import NS_PER_S, RobotTopics
from policy_runner.sim.balancer import Balancer
from policy_runner.sim.scenario import Scenario, Score
from policy_runner.sim.sensors import Noise, with_noise
from policy_runner.sim.window import Window

OK, WARN = 0, 1
RECENT_FALL_S = 5.0
# When a run is ended on purpose, the runner ends first: what happens in this time is no result.
ENDING_S = 3.0


class SimulatedRobot(RefusesUnknownNames, Node):
    """Publishes imu/data, joint_states, odom, cmd_vel; drives the wheels by joint_commands.

    For viewers it also publishes robot_description, and /tf where `tf2_msgs` is installed.
    """

    def __init__(self, **node_options: Any) -> None:
        """Create the node; `node_options` are passed to `rclpy.node.Node`.

        Raises:
            ValueError: invalid parameters, one sentence on each line.
        """
        super().__init__("simulated_robot", **node_options)
        declared = declare_table(self, PARAMETERS)
        if declared.problems:
            raise ValueError("\n".join(declared.problems))
        self._values: dict[str, Any] = declared.values()
        values = self._values
        self._source = status_source(self, values)
        self.lockstep = values["mode"] == "lockstep"
        self._simulated_time = self.lockstep or values["publish_clock"]
        self._report = Path(values["report"]) if values["report"] else None
        if self._report is not None and not self._report.absolute().parent.is_dir():
            raise ValueError(
                f"parameter report: expected a file in a folder that exists, got {self._report}"
            )
        self._noise = Noise() if values["noise"] else None
        self._noise_rng = np.random.default_rng(values["seed"])
        balancer = Balancer(delay_s=values["command_delay"])
        self.scenario = Scenario(
            balancer,
            values["seed"],
            commands=values["commands"] == "random",
            pushes=values["pushes"],
            rate_hz=values["rate"],
        )
        self._tick_ns: int = NS_PER_S // values["rate"]
        duration_s = values["duration"]
        self._last_tick = round(duration_s * values["rate"]) if duration_s else None
        self.topics = RobotTopics(
            self,
            lockstep=self.lockstep,
            clock=self._simulated_time,
            cmd_vel=values["commands"] == "random",
            trajectory=values["command_type"] == "joint_trajectory",
            noise=self._noise or Noise(0.0, 0.0, 0.0, 0.0),
        )
        self._window = Window(balancer) if values["viewer"] else None
        self._stop = threading.Event()
        self._next_diagnostics_s = 0.0
        self._answers = LockstepAnswers(self.topics, values["repeat_after"], self._stop)
        self._heartbeat = Heartbeat(values["heartbeat_timeout"])
        self._scored: tuple[float, Score] | None = None  # at the runner's newest heartbeat
        self._late_ticks = 0
        self._held = values["hold"] and not self.lockstep
        self._held_ticks = 0
        self._wall_s = 0.0
        self.error = ""  # one sentence if the run ended with an error

    def stop(self) -> None:
        """End `run` at its next tick; any thread may call this."""
        self._stop.set()

    @property
    def stamp_ns(self) -> int:
        """Stamp of the present state [ns].

        Simulated time starts with one tick, because a stamp of 0 means "not set".
        """
        if self._simulated_time:
            return (self.scenario.ticks + self._held_ticks + 1) * self._tick_ns
        return time.time_ns()

    def run(self) -> None:
        """Simulate until the duration is over, `stop` is called, or a lockstep answer is missing.

        In real time with a duration, also until the first command is missing for too long.
        """
        start = time.monotonic()
        if self._window is not None and self._window.problem:
            self.get_logger().warning(self._window.problem)
        try:
            if self.lockstep:
                self._run_lockstep()
            else:
                self._run_realtime()
        finally:
            self._wall_s = time.monotonic() - start
            if self._window is not None:
                self._window.close()
            self._publish_diagnostics()

    def _over(self) -> bool:
        done = self._last_tick is not None and self.scenario.ticks >= self._last_tick
        return done or self._stop.is_set()

    # -- real time ---------------------------------------------------------------------------

    def _run_realtime(self) -> None:
        deadline = time.monotonic_ns()
        scenario = self.scenario
        while not self._over():
            self._publish_state(self.stamp_ns)
            deadline += self._tick_ns
            left = deadline - time.monotonic_ns()
            if left > 0:
                time.sleep(left / NS_PER_S)
            elif left < -self._tick_ns:  # skip the missed ticks; do not catch up in a burst
                self._late_ticks += -left // self._tick_ns
                deadline -= left
            commands = self.topics.take_commands()
            target = commands[-1][1] if commands else None
            heard = bool(self.topics.take_statuses())
            if heard:
                self._scored = (time.monotonic(), scenario.score())
            if self._heartbeat.silent_now(heard=heard):
                target = None  # the runner is silent: ignore commands, whichever node sends them
                self.scenario.stop_wheels()
            if self._held and not (target and any(target)):
                self._held_ticks += 1
                limit_s = self._values["first_answer_timeout"]
                if self._last_tick and self._held_ticks * self._tick_ns > limit_s * NS_PER_S:
                    self.error = (
                        f"realtime: no command other than zero on {COMMAND_TOPIC} within "
                        f"{limit_s:g} s ({self.topics.publisher_counts()[0]} publishers)"
                    )
                    return
                self._tell()
                continue
            self._held = False
            lay = scenario.lying
            self._tick(target)
            if lay and not scenario.lying and not (target and any(target)):
                # Stopped: it would fall again at once, and ~/arm refuses a robot that is tipped.
                # With a duration time continues, so that the run ends.
                self._held = self._values["hold"] and self._last_tick is None

    # -- lockstep ----------------------------------------------------------------------------

    def _run_lockstep(self) -> None:
        timeout_s = self._values["first_answer_timeout"]
        while not self._over():
            stamp_ns = self.stamp_ns
            self._publish_state(stamp_ns)
            answered, target = self._answers.wait(stamp_ns, timeout_s)
            if not answered:
                self.error = self._answers.problem
                return
            self._tick(target)
            timeout_s = self._values["answer_timeout"]

    def _publish_state(self, stamp_ns: int) -> None:
        balancer = self.scenario.balancer
        reading = balancer.read()
        if self._noise is not None:
            reading = with_noise(reading, self._noise, self._noise_rng)
        self.topics.set_state(stamp_ns, reading, balancer, self.scenario.command)
        self.topics.publish_state()

    def _tick(self, target: list[float] | None) -> None:
        self.scenario.tick(target)
        self._tell()

    def _tell(self) -> None:
        if self._window is not None:
            self._window.show()
        now = time.monotonic()
        if now >= self._next_diagnostics_s:
            self._next_diagnostics_s = now + 1.0
            self._publish_diagnostics()

    def _publish_diagnostics(self) -> None:
        scenario, wheels = self.scenario, self.topics.wheel_commands
        score, balancer = scenario.score(), scenario.balancer
        recent = scenario.falls > 0 and scenario.upright_s < RECENT_FALL_S
        message = "balancing"
        if self._heartbeat.silent:
            message = "the runner's heartbeat is silent: wheels stopped"
        elif self._held:
            message = "held until a command that is not zero"
        elif scenario.lying:
            message = "fallen"
        elif recent:
            message = "fell a moment ago"
        elif wheels.ignored:
            message = f"balancing; ignored {wheels.problem}"
        status = self._source.status(
            "balance",
            WARN if recent or wheels.ignored or self._heartbeat.silent else OK,
            message,
            {
                "upright [s]": scenario.upright_s,
                "falls": score.falls,
                "simulated [s]": score.simulated_s,
                "commands": score.commands,
                "upright share": score.upright_share,
                "velocity rmse forward [m/s]": score.velocity_rmse_forward,
                "velocity rmse yaw [rad/s]": score.velocity_rmse_yaw,
                "command forward [m/s]": scenario.command[0],
                "command yaw [rad/s]": scenario.command[1],
                "forward [m/s]": balancer.forward_velocity,
                "yaw rate [rad/s]": balancer.yaw_rate,
                "tilt [rad]": balancer.tilt,
                "ignored commands": wheels.ignored,
                "heartbeats lost": self._heartbeat.lost,
                "late ticks": self._late_ticks,
            },
        )
        self.topics.publish_diagnostics(self.stamp_ns, status)

    def report(self) -> dict[str, Any]:
        """Return the score and the settings of the run, ready for JSON."""
        wheels, score = self.topics.wheel_commands, self.scenario.score()
        if self._stop.is_set() and self._scored is not None:
            heard_s, scored = self._scored
            score = scored if time.monotonic() - heard_s < ENDING_S else score
        return {
            **score.as_json(),
            "mode": self._values["mode"],
            "seed": self._values["seed"],
            "rate_hz": self._values["rate"],
            "command_delay_s": self._values["command_delay"],
            "wall_s": round(self._wall_s, 3),
            "late_ticks": self._late_ticks,
            "heartbeats_lost": self._heartbeat.lost,
            "answered_by_status": self._answers.statuses_only,
            "ignored_commands": wheels.ignored,
            "problem": wheels.problem,
            "error": self.error,
        }

    def write_report(self) -> None:
        """Write the report file, if the parameter `report` names one; completely or not at all."""
        if self._report is None:
            return
        part = self._report.with_name(self._report.name + ".part")
        part.write_text(json.dumps(self.report(), indent=2) + "\n", encoding="utf-8")
        part.replace(self._report)
