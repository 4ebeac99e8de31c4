"""The simulated robot as a ROS node: real time, or lockstep by stamp on simulated time.

The simulation runs in its own thread (`SimulatedRobot.run`), which also takes the commands. The
executor only serves parameters.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rclpy.node import Node

from policy_runner.core.errors import Refusal
from policy_runner.ros.diagnostics.source import status_source
from policy_runner.ros.messages.topics import COMMAND_TOPIC
from policy_runner.ros.parameters.declared import declare_table
from policy_runner.ros.parameters.unknown_names import RefusesUnknownNames
from policy_runner.ros.simulated_robot.command_reader import NS_PER_S, SentCommand
from policy_runner.ros.simulated_robot.heartbeat import Heartbeat
from policy_runner.ros.simulated_robot.lockstep import LockstepAnswers
from policy_runner.ros.simulated_robot.parameters import PARAMETERS
from policy_runner.ros.simulated_robot.reach_world import ReachWorld
from policy_runner.ros.simulated_robot.topics import RobotTopics
from policy_runner.ros.simulated_robot.worlds import PlantWorld, ScenarioWorld, World
from policy_runner.sim.loop.policy_facts import read_facts
from policy_runner.sim.plant.drives import KINDS
from policy_runner.sim.plant.plant import Plant, PolicyFacts
from policy_runner.sim.robot_file.robot_reader import read_robot
from policy_runner.sim.robot_file.sensor_keys import JointStatesSensor
from policy_runner.sim.window import Window

OK, WARN = 0, 1
# When a run is ended on purpose, the runner ends first: what happens in this time is no result.
ENDING_S = 3.0


class SimulatedRobot(RefusesUnknownNames, Node):
    """Publishes the sensors of robot.yaml and cmd_vel; drives the joints by joint_commands.

    For viewers it also publishes /tf where `tf2_msgs` is installed, and robot_description of robots
    that have one (`description` of robot.yaml, or a URDF).
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
        kinds = values["command_kinds"]
        if not kinds or not set(kinds) <= {*KINDS, "twist"}:
            listed = ", ".join((*KINDS, "twist"))
            raise ValueError(f"command_kinds: expected some of {listed}, got {', '.join(kinds)}")
        try:
            self.world = _world(values)
            self.topics = RobotTopics(self, self.world, values)
        except Refusal as refusal:
            raise ValueError(str(refusal)) from refusal
        plant = self.world.plant
        period_s = values["period"] if values["robot"] else 0.0
        self._tick_ns = round(period_s * NS_PER_S) or NS_PER_S // values["rate"]
        duration_s = values["duration"]
        self._last_tick = round(duration_s * NS_PER_S / self._tick_ns) if duration_s else None
        self._window = Window(plant) if values["viewer"] else None
        self._stop = threading.Event()
        # At the runner's newest heartbeat, in real time.
        self._scored: tuple[float, dict[str, Any]] | None = None
        self._next_diagnostics_s = 0.0
        self._answers = LockstepAnswers(self.topics, values["repeat_after"], self._stop)
        self._heartbeat = Heartbeat(values["heartbeat_timeout"])
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
            return (self.world.ticks + self._held_ticks + 1) * self._tick_ns
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
        except Refusal as refusal:  # a command that does not fit, or a simulation that diverged
            self.error = str(refusal)
        finally:
            self.topics.sensors.close()
            self._wall_s = time.monotonic() - start
            if self._window is not None:
                self._window.close()
            self._publish_diagnostics()

    def _over(self) -> bool:
        done = self._last_tick is not None and self.world.ticks >= self._last_tick
        return done or self._stop.is_set()

    # -- real time ---------------------------------------------------------------------------

    def _run_realtime(self) -> None:
        deadline = time.monotonic_ns()
        world = self.world
        while not self._over():
            self._publish_state(self.stamp_ns)
            deadline += self._tick_ns
            left = deadline - time.monotonic_ns()
            if left > 0:
                time.sleep(left / NS_PER_S)
            elif left < -self._tick_ns:  # skip the missed ticks; do not catch up in a burst
                self._late_ticks += -left // self._tick_ns
                deadline -= left
            commands: list[SentCommand] | None = _newest(self.topics.take_commands())
            heard = bool(self.topics.take_statuses())
            if heard:
                self._scored = (time.monotonic(), world.score())
            if self._heartbeat.silent_now(heard=heard):
                commands = None  # the runner is silent: ignore commands, whichever node sends them
                world.stop()
            if self._held and not world.releases(commands):
                self._held_ticks += 1
                limit_s = self._values["first_answer_timeout"]
                if self._last_tick and self._held_ticks * self._tick_ns > limit_s * NS_PER_S:
                    self.error = (
                        f"realtime: no command{self._other_than} on {COMMAND_TOPIC} within "
                        f"{limit_s:g} s ({self.topics.publisher_counts()[0]} publishers)"
                    )
                    return
                self._tell()
                continue
            self._held = False
            lay = world.lying
            self._tick(commands)
            if lay and not world.lying and not world.releases(commands):
                # Stopped: it would fall again at once, and ~/arm refuses a robot that is tipped.
                # With a duration time continues, so that the run ends.
                self._held = self._values["hold"] and self._last_tick is None

    # -- lockstep ----------------------------------------------------------------------------

    def _run_lockstep(self) -> None:
        timeout_s = self._values["first_answer_timeout"]
        while not self._over():
            stamp_ns = self.stamp_ns
            self._publish_state(stamp_ns)
            answered, commands = self._answers.wait(stamp_ns, timeout_s)
            if not answered:
                self.error = self._answers.problem
                return
            self._tick(commands)
            timeout_s = self._values["answer_timeout"]

    def _publish_state(self, stamp_ns: int) -> None:
        gains = self.topics.take_gains()
        if gains:
            self.world.plant.set_gains(gains)
        self.topics.set_state(stamp_ns)
        self.topics.publish_state()

    def _tick(self, commands: list[SentCommand] | None) -> None:
        self.world.tick(commands)
        self._tell()

    def _tell(self) -> None:
        if self._window is not None:
            self._window.show()
        now = time.monotonic()
        if now >= self._next_diagnostics_s:
            self._next_diagnostics_s = now + 1.0
            self._publish_diagnostics()

    def _publish_diagnostics(self) -> None:
        commands = self.topics.commands
        message, warn, figures = self.world.state()
        if self._heartbeat.silent:
            motors = "wheels" if isinstance(self.world, ScenarioWorld) else "motors"
            message = f"the runner's heartbeat is silent: {motors} stopped"
        elif self._held:
            message = "held until a command"
            if isinstance(self.world, ScenarioWorld):
                message = "held until a command that is not zero"
        elif commands.ignored and not warn:
            message = f"{message}; ignored {commands.problem}"
        status = self._source.status(
            "balance",
            WARN if warn or commands.ignored or self._heartbeat.silent else OK,
            message,
            {
                **figures,
                "ignored commands": commands.ignored,
                "heartbeats lost": self._heartbeat.lost,
                "late ticks": self._late_ticks,
            },
        )
        self.topics.publish_diagnostics(self.stamp_ns, status)

    def report(self) -> dict[str, Any]:
        """Return the score and the settings of the run, ready for JSON."""
        commands, score = self.topics.commands, self.world.score()
        if self._stop.is_set() and self._scored is not None:
            heard_s, scored = self._scored
            score = scored if time.monotonic() - heard_s < ENDING_S else score
        return {
            **score,
            "mode": self._values["mode"],
            "seed": self._values["seed"],
            "rate_hz": NS_PER_S / self._tick_ns,
            "command_delay_s": self._values["command_delay"],
            "wall_s": round(self._wall_s, 3),
            "late_ticks": self._late_ticks,
            "heartbeats_lost": self._heartbeat.lost,
            "answered_by_status": self._answers.statuses_only,
            "ignored_commands": commands.ignored,
            "problem": commands.problem,
            "error": self.error,
        }

    def write_report(self) -> None:
        """Write the report file, if the parameter `report` names one; completely or not at all."""
        if self._report is None:
            return
        part = self._report.with_name(self._report.name + ".part")
        part.write_text(json.dumps(self.report(), indent=2) + "\n", encoding="utf-8")
        part.replace(self._report)

    @property
    def _other_than(self) -> str:
        return " other than zero" if isinstance(self.world, ScenarioWorld) else ""


def _world(values: dict[str, Any]) -> World:
    """The robot that the parameter `robot` names, or the balancer in its scenario.

    Raises:
        Refusal: the robot or the policy has problems, or the rate does not fit the physics.
        ValueError: a task has no robot.
    """
    if not values["robot"]:
        if values["task"] != "none":
            raise ValueError(f"parameter task: expected none without `robot`, got {values['task']}")
        return ScenarioWorld(values)
    robot = read_robot(values["robot"], meshes=values["meshes"])
    if values["shuffle_joints"] >= 0:
        order = {"shuffle": values["shuffle_joints"]}
        sensors = {
            topic: one.model_copy(update=order) if isinstance(one, JointStatesSensor) else one
            for topic, one in robot.spec.sensors.items()
        }
        robot = replace(robot, spec=robot.spec.model_copy(update={"sensors": sensors}))
    facts = PolicyFacts()
    if values["policy"]:
        facts = read_facts(values["policy"], values["policy_parameters"] or None)
    kind = ReachWorld if values["task"] == "reach" else PlantWorld
    return kind(Plant(robot, facts), values)


def _newest(commands: list[SentCommand]) -> list[SentCommand] | None:
    """The newest command of each kind, with all points of its trajectory; None without any."""
    newest: dict[tuple[str, tuple[str, ...]], list[SentCommand]] = {}
    for command in commands:
        key = command.kind, tuple(command.names)
        if command.after_ns == 0:
            newest[key] = []
        newest.setdefault(key, []).append(command)
    return [one for several in newest.values() for one in several] or None
