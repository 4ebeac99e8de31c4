"""Everything that `configure` makes, and makes all of or nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from policy_runner.backends.choice import BackendChoice
from policy_runner.backends.registry import forgets, load_model
from policy_runner.core.action import action_elements
from policy_runner.core.build import build_pipeline
from policy_runner.core.joints import RobotJoint
from policy_runner.core.loop_watch import LoopWatch
from policy_runner.core.pd import EffortFromPd
from policy_runner.core.pipeline import Pipeline
from policy_runner.core.problems import Problem, Refusal
from policy_runner.core.spec import PolicySpec
from policy_runner.ros.command_format import command_format
from policy_runner.ros.command_publisher import CommandPublisher
from policy_runner.ros.configure_checks import (
    collect,
    declare_for_policy,
    read_policy,
    stand_in_settings,
    with_robot_types,
)
from policy_runner.ros.control_loop import ControlLoop
from policy_runner.ros.estop import EstopInput
from policy_runner.ros.joint_gains import gains_sentence, publish_gains
from policy_runner.ros.message_readers import message_class
from policy_runner.ros.parameter_table import DeclaredParameters
from policy_runner.ros.polling import PolledInput, PolledSubscription
from policy_runner.ros.raw_reader import SlotReader
from policy_runner.ros.runner_parameters import build_settings, mountings, robot_joints
from policy_runner.ros.status_publisher import StatusPublisher
from policy_runner.ros.ticker import LockstepTicker, SimTimeTicker, Ticker, WallTicker
from policy_runner.ros.vector_publisher import VectorPublisher

COMMAND_TOPIC = "joint_commands"
DRY_RUN_TOPIC = "~/dry_run"


def input_qos(lockstep: bool) -> QoSProfile:
    """Best effort matches every publisher; lockstep may lose nothing."""
    return QoSProfile(
        depth=10,
        history=HistoryPolicy.KEEP_LAST,
        reliability=ReliabilityPolicy.RELIABLE if lockstep else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.VOLATILE,
    )


@dataclass
class Configured:
    """A policy bound to this robot: pipeline, inputs, outputs. `destroy` gives all of it back."""

    node: Any
    spec: PolicySpec
    model: Any
    pipeline: Pipeline
    values: dict[str, Any]
    simulated: bool
    warnings: list[str]
    description: dict[str, object]
    inputs: list[PolledInput] = field(default_factory=list)
    clock: PolledSubscription | None = None
    commands: CommandPublisher | None = None
    status: StatusPublisher | None = None
    vectors: VectorPublisher | None = None
    estop: EstopInput | None = None
    gains: Any = None
    command_topic: str = ""
    _ticker: Ticker | None = None

    def make_loop(
        self, prepare_thread: Callable[[], None], watch: LoopWatch | None = None
    ) -> ControlLoop:
        """A control loop that has not started yet."""
        assert self.commands is not None
        assert self.status is not None
        period_ns = self.pipeline.settings.period_ns
        lockstep = self.values["lockstep"]
        box: list[ControlLoop] = []
        if self.clock is None:
            self._ticker = WallTicker(period_ns)
        elif lockstep:
            self._ticker = LockstepTicker(
                self.node, period_ns, self.clock, self.inputs, lambda: box[0].answer_again()
            )
        else:
            self._ticker = SimTimeTicker(self.node, period_ns, self.clock)
        loop = ControlLoop(
            self.pipeline,
            self._ticker,
            self.inputs,
            self.commands,
            self.status,
            prepare_thread,
            stamp_clock=None if self.simulated else time.time_ns,
            answers=lockstep,
            window=self.values["diagnostics.window"],
            dry_run=self.values["dry_run"],
            vectors=self.vectors,
            estop=self.estop,
            watch=watch,
        )
        box.append(loop)
        return loop

    @property
    def loop_clock_ns(self) -> int:
        """Now, on the clock that ages are counted on."""
        return self._ticker.now_ns if self._ticker is not None else time.monotonic_ns()

    def destroy(self) -> None:
        """Give topics back; the control thread must be gone."""
        for one in self.inputs:
            one.polled.destroy()
        for made in (self.clock, self.commands, self.status, self.vectors, self.estop):
            if made is not None:
                made.destroy()
        if self.gains is not None:
            self.node.destroy_publisher(self.gains)
        self.inputs, self.clock, self.gains, self.estop = [], None, None, None
        self.commands = self.status = self.vectors = None


def configure(node: Any, parameters: DeclaredParameters, arguments: list[str]) -> Configured:
    """Read, check, load, warm up and connect.

    Raises:
        Refusal: with every problem that could be found, and nothing left behind.
    """
    problems: list[Problem | str] = []
    spec_file = read_policy(parameters, problems)
    warnings = declare_for_policy(node, parameters, spec_file, arguments, problems)
    if spec_file is not None and not problems:
        node.engine_wait.build_if_missing(parameters.values(), spec_file)
    values = parameters.values()
    simulated = bool(node.get_parameter("use_sim_time").value)
    model = settings = joints = None
    if spec_file is not None:
        spec_file = with_robot_types(spec_file, values)
        spec = spec_file.spec
        # Each part is tried, so that one attempt finds all that is wrong.
        with collect(problems):
            elements = action_elements(spec, str(spec_file.path))
            settings = build_settings(values, spec, elements, simulated)
        with collect(problems):
            joints = robot_joints(values, spec)
        with collect(problems):
            path = spec_file.beside(spec.model.file, "model.file")
            choice = BackendChoice.of(values)
            model = load_model(choice, path, spec.model.sha256, spec_file.path)
            warnings += [text for name, text in model.facts.items() if name == "warning"]
            warnings += [
                f"{path}: {operation} has no state among the model's inputs: it forgets every time"
                for operation in forgets(path)
            ]
    if values["lockstep"] and not simulated:
        problems.append("parameter lockstep: expected use_sim_time to be true as well, got false")
    if values["lockstep"] and values["command.type"].startswith("float64"):
        expected = "joint_state or joint_trajectory in lockstep, since the answer needs a stamp"
        problems.append(Problem("", "parameter command.type", expected, values["command.type"]))
    pipeline = None
    if spec_file is not None and model is not None and joints is not None:
        # Without settings the pipeline is built only to find its problems, too.
        settings = settings or stand_in_settings(spec_file.spec)
        with collect(problems):
            pipeline = build_pipeline(
                spec_file, model, settings, joints, time.perf_counter_ns,
                mountings(values, spec_file.spec),
            )  # fmt: skip
    if problems or pipeline is None or spec_file is None or joints is None:
        raise Refusal(list(dict.fromkeys(problems)))
    made = Configured(
        node, spec_file.spec, model, pipeline, values, simulated, warnings,
        {
            "policy": spec_file.spec.name,
            "spec": str(spec_file.path),
            "sha256": model.sha256 if model else "",
            "backend": values["backend"],
            **(model.facts if model else {}),
            "joints": ", ".join(spec_file.spec.joint_names),
            "control_dt [s]": spec_file.spec.control_dt,
            "decimation": values["decimation"],
        },
    )  # fmt: skip
    try:
        _connect(made, joints, str(spec_file.path))
    except BaseException:
        made.destroy()
        raise
    return made


def _connect(made: Configured, joints: Mapping[str, RobotJoint], file: str) -> None:
    node, values, pipeline, spec = made.node, made.values, made.pipeline, made.spec
    period_ns = pipeline.settings.period_ns
    lockstep = values["lockstep"]
    problems: list[Problem | str] = []
    made.command_topic = DRY_RUN_TOPIC if values["dry_run"] else COMMAND_TOPIC
    with collect(problems):
        # Before the inputs: it asks for the joints' positions and velocities.
        pd = None
        if values["command.effort_from_pd"]:
            pd = EffortFromPd(spec, file, pipeline.elements, list(pipeline.slots.values()))
        form = command_format(values, spec, file, joints, period_ns)
        order = values["command.joint_names"]
        made.commands = CommandPublisher(
            node, made.command_topic, form, pipeline.elements, joints, order, pd
        )
    for name, slot in pipeline.slots.items():
        with collect(problems):
            message_type = message_class(slot.spec.type, f"inputs.{name}.type")
            reader = SlotReader(slot, message_type)
            polled = PolledSubscription(node, message_type, slot.spec.topic, input_qos(lockstep))
            made.inputs.append(PolledInput(polled, slot, reader, values["max_message_bytes"]))
    if problems:
        raise Refusal(problems)
    if made.simulated:
        clock = message_class("rosgraph_msgs/msg/Clock", "use_sim_time")
        made.clock = PolledSubscription(node, clock, "/clock", input_qos(lockstep))
    made.status = StatusPublisher(node, period_ns)
    made.estop = EstopInput(node)
    made.gains = publish_gains(node, spec, file, joints)
    if values["publish_vectors"]:
        names = [element.joint for element in pipeline.elements]
        made.vectors = VectorPublisher(
            node, pipeline.observations, lambda: pipeline.raw_action, names
        )
    if made.gains is not None and not values["command.effort_from_pd"]:
        made.warnings.append(gains_sentence(spec, form.gains, joints))
