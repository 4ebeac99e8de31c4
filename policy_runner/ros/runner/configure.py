"""What `configure` creates. Either everything is created, or nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rclpy.node import Node

from policy_runner.core.black_box.pipeline_recorder import Recorder
from policy_runner.core.command.effort_pd import EffortFromPd
from policy_runner.core.errors import Problem, Refusal, collect
from policy_runner.core.pipeline.chunked import ChunkedPolicy
from policy_runner.core.pipeline.pipeline import Pipeline
from policy_runner.core.safety.loop_watch import LoopWatch
from policy_runner.core.settings import Settings
from policy_runner.core.spec import PolicySpec, SpecFile
from policy_runner.robot.config import RobotConfig, robot_config
from policy_runner.robot.load import LoadedPolicy, bind_policy, read_policy
from policy_runner.robot.parameter_files import section_problems, unknown_keys
from policy_runner.robot.parameters.policy import PREFIXES
from policy_runner.ros.black_box.keeper import BlackBox
from policy_runner.ros.inputs.checked_reader import checked_reader
from policy_runner.ros.inputs.estop import EstopInput
from policy_runner.ros.inputs.polling import PolledInput, PolledSubscription, input_qos
from policy_runner.ros.inputs.robot_description import robot_description
from policy_runner.ros.inputs.texts import text_inputs
from policy_runner.ros.messages.topics import COMMAND_TOPIC
from policy_runner.ros.messages.types import message_class
from policy_runner.ros.outputs.command_format import command_format
from policy_runner.ros.outputs.command_publisher import CommandPublisher
from policy_runner.ros.outputs.heartbeat import StatusPublisher
from policy_runner.ros.outputs.joint_gains import gains_sentence, publish_gains
from policy_runner.ros.outputs.vectors import VectorPublisher
from policy_runner.ros.parameters.declared import DeclaredParameters
from policy_runner.ros.parameters.of_policy import policy_parameters
from policy_runner.ros.runner.control_loop import ControlLoop, LoopOptions, LoopPorts
from policy_runner.ros.runner.engine_wait import EngineWait
from policy_runner.ros.runner.guard_link import GuardLink
from policy_runner.ros.runner.kept_topics import KeptTopics
from policy_runner.ros.runner.ticker import LockstepTicker, SimTimeTicker, Ticker, WallTicker

DRY_RUN_TOPIC = "~/dry_run"


@dataclass
class ConnectedPolicy:
    """A policy bound to this robot: pipeline, inputs, outputs. `destroy` releases all of it."""

    node: Node
    topics: KeptTopics
    policy: LoadedPolicy
    inputs: list[PolledInput] = field(default_factory=list)
    clock: PolledSubscription | None = None
    commands: CommandPublisher | None = None
    status: StatusPublisher | None = None
    vectors: VectorPublisher | None = None
    estop: EstopInput | None = None  # the node's; it exists from the node's start: no press is lost
    guard: GuardLink | None = None  # the node's
    recorder: Recorder | None = None  # of the black box
    tell_gains: Callable[[], Any] = lambda: None
    command_topic: str = ""
    _ticker: Ticker | None = None

    @property
    def spec(self) -> PolicySpec:
        """The policy's spec, with the message types of this robot."""
        return self.policy.spec

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline, which the control thread steps."""
        return self.policy.pipeline

    @property
    def config(self) -> RobotConfig:
        """The parameters that the policy was configured with."""
        return self.policy.config

    @property
    def values(self) -> dict[str, Any]:
        """The same parameters by name."""
        return self.policy.values

    def make_loop(
        self, prepare_thread: Callable[[], None], watch: LoopWatch | None = None
    ) -> ControlLoop:
        """Create a control loop that is not started; arguments as for `ControlLoop`."""
        box: list[ControlLoop] = []
        self._ticker = self.make_ticker(lambda: box[0].answer_again())
        loop = ControlLoop(
            self.pipeline,
            self._ports(self._ticker),
            LoopOptions(
                dry_run=self.config.loop.dry_run,
                lockstep=self.config.loop.lockstep,
                window=self.config.loop.window,
            ),
            prepare_thread,
            stamp_clock=None if self.config.loop.simulated else time.time_ns,
            watch=watch,
        )
        box.append(loop)
        return loop

    def _ports(self, ticker: Ticker) -> LoopPorts:
        assert self.commands is not None
        assert self.status is not None
        guard = self.guard.report if self.guard is not None else None
        return LoopPorts(
            ticker, self.inputs, self.commands, self.status, self.vectors, self.estop, guard
        )

    def tell_guard(self, keep: bool = False, settings: Settings | None = None) -> None:
        """Publish this policy's outputs and limits for the guard.

        Args:
            keep: also keep the outputs of the previous policy, during a reload.
            settings: the settings that the loop is about to use; None: the present settings.
        """
        if self.guard is None or self.commands is None or self.status is None:
            return
        loop = self.config.loop
        self.guard.tell(
            self.commands.guarded_outputs(),
            settings or self.pipeline.settings,
            guarded=not (loop.dry_run or loop.lockstep),
            estop_topics=self.estop.topics if self.estop is not None else (),
            keep=keep,
        )

    def make_ticker(self, repeat: Callable[[], None]) -> Ticker:
        """Create the ticker of this policy.

        Args:
            repeat: sends the last answer again; used in lockstep only.
        """
        period_ns = self.pipeline.settings.period_ns
        if self.clock is None:
            return WallTicker(period_ns)
        if self.config.loop.lockstep:
            return LockstepTicker(self.node, period_ns, self.clock, self.inputs, repeat)
        return SimTimeTicker(self.node, period_ns, self.clock, self.inputs)

    def prepare_ticker(self, loop: ControlLoop) -> None:
        """Create the ticker that `take_over` will use. Call this before it."""
        self._ticker = self.make_ticker(loop.answer_again)

    def take_over(self, loop: ControlLoop, before: ConnectedPolicy) -> None:
        """Let a running loop continue with this policy; called by its control thread.

        Args:
            loop: the running loop.
            before: the policy that the loop has run until now.
        """
        assert self.status is not None
        assert self._ticker is not None
        self.pipeline.continue_from(before.pipeline)
        # The call that changes the loop comes last: if one before fails, the loop is unchanged.
        loop.take_over(self.pipeline, self._ports(self._ticker))
        self.status.set_period(self.pipeline.settings.period_ns)

    @property
    def loop_clock_ns(self) -> int:
        """Current time [ns] on the loop's clock, with which ages are measured."""
        return self._ticker.now_ns if self._ticker is not None else time.monotonic_ns()

    def acknowledged(self, but: ConnectedPolicy) -> bool:
        """Whether receivers confirmed the last command on all topics, except those of `but`."""
        if self.commands is None or but.commands is None:
            return True
        return self.commands.wait_for_acknowledgement(0.0, but.commands.publishers)

    def destroy(self, but: ConnectedPolicy | None = None) -> None:
        """Release the topics and the model.

        The control thread must have ended, or must run the policy `but`.

        Args:
            but: a policy whose topics are kept; None: release everything.
        """
        self.topics.destroy(but.topics if but is not None else None)
        if but is None and self.status is not None:
            self.status.destroy()
        self.policy.model.close()
        # The two refer to each other, and the garbage collector skips what configure froze.
        self.pipeline.recorder = None
        self.recorder = None
        self.inputs, self.clock, self.estop, self.guard = [], None, None, None
        self.commands = self.status = self.vectors = None


def configure(
    node: Node,
    parameters: DeclaredParameters,
    engine_wait: EngineWait,
    estop: EstopInput,
    guard: GuardLink,
    arguments: list[str],
    black_box: BlackBox | None = None,
) -> ConnectedPolicy:
    """Read, check, load, warm up and connect a policy.

    Args:
        node: gets the topics.
        parameters: the node's; the policy's parameters are declared among them.
        engine_wait: builds a missing engine if the parameters ask for it.
        estop: the node's emergency stop, which every policy uses.
        guard: the node's link to its guard.
        arguments: of the process; they name the parameter files.
        black_box: the node's; None: nothing is recorded.

    Raises:
        Refusal: with every problem found. Everything created until then is released.
    """
    problems: list[Problem | str] = []
    spec_file = read_policy(parameters.value("policy"), problems)
    warnings = declare_for_policy(parameters, spec_file, arguments, problems)
    problems += estop.problems
    simulated = bool(node.get_parameter("use_sim_time").value)
    if spec_file is not None and not problems:
        config = robot_config(parameters.values(), spec_file.spec, (), simulated)
        engine_wait.build_if_missing(config, spec_file)
    values = parameters.values()
    with collect(problems):
        values["robot_description"] = robot_description(node, values["limits.urdf"])
    loaded = bind_policy(spec_file, values, simulated, problems, warnings)
    made = connect(node, loaded, estop, guard, black_box=black_box)
    made.tell_gains()
    made.tell_guard()
    return made


def connect(
    node: Node,
    loaded: LoadedPolicy,
    estop: EstopInput,
    guard: GuardLink,
    before: ConnectedPolicy | None = None,
    black_box: BlackBox | None = None,
) -> ConnectedPolicy:
    """Create the topics of a loaded policy, and reuse those of the previous policy that fit.

    Args:
        node: gets the topics.
        loaded: the policy.
        estop: the node's emergency stop.
        guard: the node's link to its guard.
        before: the previous policy; None: there is none.
        black_box: the node's; None: nothing is recorded.

    Raises:
        Refusal: with every problem found. Everything created until then is released.
    """
    topics = KeptTopics(node, before.topics if before is not None else None)
    made = ConnectedPolicy(node, topics, loaded, estop=estop, guard=guard)
    try:
        _connect(made, before)
        made.recorder = recorder = black_box.recorder_for(loaded) if black_box is not None else None
        for one in made.inputs if recorder is not None else ():
            one.tap = recorder.hear if recorder is not None else None
    except BaseException:
        made.destroy(but=before)
        raise
    return made


def _connect(made: ConnectedPolicy, before: ConnectedPolicy | None) -> None:
    topics, config, pipeline, spec = made.topics, made.config, made.pipeline, made.spec
    joints, file = made.policy.joints, str(made.policy.spec_file.path)
    period_ns = pipeline.settings.period_ns
    lockstep = config.loop.lockstep
    problems: list[Problem | str] = []
    made.command_topic = DRY_RUN_TOPIC if config.loop.dry_run else COMMAND_TOPIC
    with collect(problems):
        # Before the inputs: `EffortFromPd` requests the joints' positions and velocities from them.
        pd = None
        if config.command.effort_from_pd:
            pd = EffortFromPd(spec, file, pipeline.elements, list(pipeline.slots.values()))
            pipeline.watch(pd.fault)
        form = command_format(config.command, spec, file, joints, period_ns)
        order = config.command.joint_names
        made.commands = CommandPublisher(
            topics, made.command_topic, form, pipeline.elements, joints, order, pd
        )
        laned = pipeline.laned
        player = laned.trajectories if isinstance(laned, ChunkedPolicy) else None
        if player is not None:
            made.commands.send_trajectories(player, config.command.trajectory_lead_ns)
    for name, slot in pipeline.slots.items():
        with collect(problems):
            message_type = message_class(slot.spec.type, f"parameter inputs.{name}.type")
            reader = checked_reader(slot, message_type, config)
            most_bytes = config.loop.max_message_bytes
            if slot.text is not None:
                made.inputs += text_inputs(topics, message_type, slot, reader, most_bytes)
                continue
            polled = PolledSubscription(topics, message_type, slot.spec.topic, input_qos(lockstep))
            made.inputs.append(PolledInput(polled, slot, reader, most_bytes))
    if problems:
        raise Refusal(problems)
    if made.config.loop.simulated:
        clock = message_class("rosgraph_msgs/msg/Clock", "use_sim_time")
        made.clock = PolledSubscription(topics, clock, "/clock", input_qos(lockstep))
    if before is None:
        made.status = StatusPublisher(
            made.node, period_ns, made.guard.session if made.guard else ""
        )
    else:  # the heartbeat belongs to the node, not to a policy
        made.status = before.status
    if config.loop.publish_vectors:
        names = [element.joint for element in pipeline.elements]
        made.vectors = VectorPublisher(
            topics, pipeline.observations, lambda: pipeline.raw_action, names
        )
    has_gains = spec.stiffness is not None or spec.damping is not None
    if has_gains and not config.command.effort_from_pd:
        made.policy.warnings.append(gains_sentence(spec, form.gains, joints))
    made.tell_gains = partial(publish_gains, topics, spec, file, joints)


def declare_for_policy(
    parameters: DeclaredParameters,
    spec_file: SpecFile | None,
    arguments: list[str],
    problems: list[Problem | str],
) -> list[str]:
    """Declare the parameters of this policy and find misspelt keys.

    Args:
        parameters: the node's.
        spec_file: the policy's; None if it could not be read.
        arguments: of the process; they name the parameter files.
        problems: the sentences about wrong values are appended here.

    Returns:
        Warnings for the log.
    """
    overrides = list(parameters.overrides)
    problems += section_problems(arguments, parameters.node_name, overrides)
    if spec_file is not None:
        given = policy_parameters(parameters, parameters.values(), spec_file, overrides, arguments)
        given.commit(parameters)
        problems += [*parameters.problems, *given.problems]
        return given.warnings
    # Without the policy, its inputs and joints are unknown, so its keys cannot be checked.
    overrides = [name for name in overrides if not name.startswith(PREFIXES)]
    refused, warned = unknown_keys(overrides, parameters.names, arguments, parameters.node_name)
    problems += [*parameters.problems, *refused]
    return warned
