"""A runner in its own process, and a scripted robot that causes every fault."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import leftovers
import pytest
from children import Child, Nursery, wait_until
from ending_rig import quick_discovery
from fault_policy import write_fault_policy
from fault_robot import UPRIGHT, ScriptedRobot
from fault_table import FAULTS, FaultRow
from runner_rig import JOINTS, PERIOD_S, Peer, write_parameters

RUNNER = ("-m", "policy_runner.ros.runner.main")
BOUND = 20.0
TOO_FAST = 50.0  # rad/s, limit of the left joint
MAX_AGE_S = 0.3
LEVELS = {b"\0": "OK", b"\1": "WARN", b"\2": "ERROR"}
_numbers = itertools.count()


class FaultGraph(ScriptedRobot):
    """One runner's process and its robot, in their own namespace."""

    def __init__(
        self,
        nursery: Nursery,
        folder: Path,
        program: Sequence[str] = RUNNER,
        env: dict[str, str] | None = None,
        simulated: bool = False,
        silent: Iterable[str] = (),
        kind: str = "velocity",
        chunk: int = 0,
        more: Sequence[str] = (),
        **parameters: Any,
    ) -> None:
        """`program`: started by Python. `simulated`: on /clock, which the test publishes.

        `silent`: inputs without messages at first. `kind`: of the commands. `chunk`: number of
        actions of the policy's chunks. `more`: arguments for ROS after the parameter file.
        """
        import rclpy

        self.number = next(_numbers)
        self.stood_still = False  # the runner got a SIGSTOP
        self.folder = folder / f"graph{self.number}"
        self.space = f"/fault{self.number}"
        self.policy = write_fault_policy(self.folder / "policy", kind=kind, chunk=chunk)
        given: dict[str, Any] = {
            "policy": str(self.policy),
            "autostart": True,
            "diagnostics__period": 0.1,
            "safety__max_tilt": 1.0,
            "inputs__imu__strict_stamp": True,
            "joints__left_joint__max_velocity": TOO_FAST,
            **{f"inputs__{name}__max_age": MAX_AGE_S for name in ("joints", "imu", "command")},
            **{f"joints__{j}__lower": -BOUND for j in JOINTS},
            **{f"joints__{j}__upper": BOUND for j in JOINTS},
            **parameters,
        }
        if simulated:
            given["use_sim_time"] = True
        given = {name: value for name, value in given.items() if value is not None}
        file = write_parameters(self.folder / "parameters.yaml", **given)
        self.arguments = ["--ros-args", "--params-file", str(file), *more]
        for rule in (f"__ns:={self.space}", f"/clock:={self.space}/clock"):
            self.arguments += ["-r", rule]
        self.env = {**quick_discovery(self.folder), **(env or {})}
        self._nursery, self._program = nursery, program
        self.context = rclpy.Context()
        self.runner = f"{self.space}/policy_runner"
        with pytest.MonkeyPatch.context() as patch:
            # The first participant of a process reads this once: ours must be quick too.
            for name, value in quick_discovery(self.folder).items():
                patch.setenv(name, value)
            rclpy.init(context=self.context)
            self.peer = Peer(self.context, self.space, self.runner)
        self.peer.settling_s = 0.1
        self._asked: list[Any] = []
        self._listen()
        ScriptedRobot.__init__(self, self.peer, kind, simulated, set(silent))
        self.child: Child = self.start()
        self.begin()

    def start(self) -> Child:
        """Start the runner's process, the first time or again."""
        argv = ["python", *self._program, *self.arguments]
        self.child = self._nursery(argv, env=self.env)
        return self.child

    def close(self) -> None:
        """End robot and runner; check that every received command was finite and in bounds."""
        self.end()
        self.peer.close()
        self.context.try_shutdown()
        if self.child.poll() is None:
            code = self.child.stop()
            assert code in (0, 2), self.child.quote()  # 2: it was never configured
        if self.stood_still:  # the middleware may have replaced its ports meanwhile
            leftovers.remove_segments_of(self.child.pid)
        bad = [v for _, v in self.commands if not all(abs(one) <= BOUND for one in v)]
        assert not bad, bad[:5]

    # --- what the graph shows ---

    def _listen(self) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from sensor_msgs.msg import JointState

        self.commands: list[tuple[float, tuple[float, ...]]] = []
        self.beats: list[tuple[float, dict[str, str]]] = []
        self.stamps: list[tuple[float, float]] = []  # of the heartbeats [s]
        self.told: list[tuple[float, str, Any]] = []  # time, part, status
        subscribe = self.peer.node.create_subscription
        subscribe(JointState, "joint_commands", self._heard_command, 200)
        subscribe(DiagnosticArray, f"{self.runner}/status", self._heard_beat, 50)
        subscribe(DiagnosticArray, "/diagnostics", self._heard_statuses, 50)

    def _heard_command(self, message: Any) -> None:
        assert list(message.name) == list(JOINTS)
        self.commands.append((time.monotonic(), tuple(getattr(message, self.kind))))

    def _heard_beat(self, message: Any) -> None:
        values = {pair.key: pair.value for pair in message.status[0].values}
        self.beats.append((time.monotonic(), values))
        stamp = message.header.stamp
        self.stamps.append((time.monotonic(), stamp.sec + stamp.nanosec * 1e-9))

    def _heard_statuses(self, message: Any) -> None:
        now = time.monotonic()
        for status in message.status:
            if f"/{status.name.lstrip('/')}".startswith(f"{self.runner}: "):
                self.told.append((now, status.name.rpartition(": ")[2], status))

    @property
    def decision(self) -> str:
        """The decision in the newest heartbeat."""
        return self.beats[-1][1]["decision"] if self.beats else ""

    @property
    def wanted(self) -> tuple[float, ...]:
        """The policy's command for the robot's present messages."""
        twist = (0.0, 0.0) if "command" in self.silent else self.twist
        target = (self.gain * v + c for v, c in zip(self.velocity, twist, strict=False))
        return tuple(min(BOUND, max(-BOUND, v)) for v in target)

    def say(self) -> str:
        """Return the newest received messages, for the text of a failure."""
        beat = self.beats[-1][1] if self.beats else None
        command = self.commands[-1] if self.commands else None
        told = {part: (LEVELS[s.level], s.message) for _, part, s in self.told}
        return f"heartbeat {beat}, command {command}, diagnostics {told}\n{self.child.quote()}"

    def wait(self, predicate: Callable[[], Any], timeout_s: float, what: str) -> Any:
        """Call `wait_until`; on failure add the received messages."""
        try:
            return wait_until(predicate, timeout_s, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.say()}") from None

    def await_beat(self, since: float, decision: str, reason: str, timeout_s: float = 10.0) -> None:
        """Wait for a heartbeat after `since` with this decision and reason."""

        def there() -> bool:
            return any(
                at > since and beat["decision"] == decision and beat["reason"] == reason
                for at, beat in self.beats[-40:]
            )

        self.wait(there, timeout_s, f"{decision} {reason}")

    def await_status(self, since: float, row: FaultRow, timeout_s: float = 10.0) -> dict[str, str]:
        """Wait for the row's status on /diagnostics after `since`; return its values."""

        def there() -> Any:
            for at, part, status in reversed(self.told):
                if at <= since:
                    return None
                found = (part, LEVELS[status.level]) == (row.part, row.level)
                if found and row.says in status.message:
                    return status
            return None

        status = self.wait(there, timeout_s, f"{row.part} {row.level} {row.says}")
        return {pair.key: pair.value for pair in status.values}

    def values(self, part: str) -> dict[str, str]:
        """Return the newest values of one status."""
        status = next(s for _, p, s in reversed(self.told) if p == part)
        return {pair.key: pair.value for pair in status.values}

    def await_commands(self, wanted: tuple[float, ...], since: float, count: int = 5) -> None:
        """Wait for `count` consecutive commands after `since` with exactly these numbers."""

        def there() -> bool:
            newest = [v for at, v in self.commands[-count:] if at > since]
            return len(newest) == count and all(
                v == pytest.approx(wanted, rel=1e-5) for v in newest
            )

        self.wait(there, 10.0, f"{count} commands of {wanted}")

    # --- a fault from its cause to the recovery ---

    def well(self, timeout_s: float = 20.0) -> None:
        """Wait for RUN and the policy's commands; arm a stopped runner."""
        begin = time.monotonic()
        # Do not wait for a start that failed, or for a runner that has ended.
        self.wait(
            lambda: self.child.poll() is not None or (self.beats and self.beats[-1][0] > begin),
            timeout_s,
            "a heartbeat",
        )
        assert self.child.poll() is None, self.say()
        if self.decision == "SAFE_STOP":
            assert self.peer.trigger("arm").success
        self.await_beat(begin, "RUN", "none", timeout_s)
        self.await_commands(self.wanted, begin)

    def shows(
        self,
        fault: str,
        cause: Callable[[], object],
        cure: Callable[[], object] | None = None,
        watch_s: float = 1.0,
    ) -> dict[str, str]:
        """Cause the fault, check its row, cure it, check the recovery; return the status' values.

        A row that stays in RUN is watched for `watch_s`, and commands must come for a second.
        """
        row = FAULTS[fault]
        self.well()
        begin = time.monotonic()
        cause()
        if row.decision == "RUN":
            self.remains(row, begin, watch_s)
        else:
            self.await_beat(begin, row.decision, row.reason)
            decided = next(
                at for at, b in self.beats if at > begin and b["decision"] == row.decision
            )
            assert decided - begin <= row.decided_s, (decided - begin, self.say())
            self.publishes(row, decided)
        values = self.await_status(begin, row)
        if cure is not None:
            cure()
            self.recovers(row)
        return values

    def ends(self, fault: str, cause: Callable[[], object]) -> int:
        """End the process; check its last commands against the row; return the exit code."""
        row = FAULTS[fault]
        assert row.decision == "gone"
        self.well()
        begin = time.monotonic()
        cause()
        code = self.child.wait(10.0)
        gone = time.monotonic()
        assert gone - begin <= row.decided_s, gone - begin
        time.sleep(0.3)  # messages under way have arrived
        if row.command == "last":
            assert self.commands[-1][1] == (0.0, 0.0)
        else:
            assert row.command == "none"
            assert self.commands[-1][1] == pytest.approx(self.wanted)
        late = [at for at, _ in [*self.commands, *self.beats] if at > gone + 0.2]
        assert not late
        return code

    def ask(self, service: str, **what: Any) -> None:
        """Call a service without waiting for an answer, which may never come."""
        from lifecycle_msgs.msg import Transition
        from lifecycle_msgs.srv import ChangeState
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter
        from std_srvs.srv import Trigger

        request: Any = Trigger.Request()
        kind: Any = Trigger
        if service == "change_state":
            kind, request = ChangeState, ChangeState.Request()
            (verb,) = what
            request.transition.id = getattr(Transition, f"TRANSITION_{verb.upper()}")
        elif service == "set_parameters":
            kind, request = SetParameters, SetParameters.Request()
            request.parameters = [
                Parameter(f"safety.{name}", value=value).to_parameter_msg()
                for name, value in what.items()
            ]
        client = self.peer.node.create_client(kind, f"{self.runner}/{service}")
        self.wait(client.service_is_ready, 15.0, service)
        time.sleep(self.peer.settling_s)
        client.call_async(request)
        self._asked.append(client)

    def starts(self, fault: str) -> None:
        """Check that it stays in STARTING, and reports the row's reason in the row's time."""
        row = FAULTS[fault]
        assert row.decision == "STARTING"
        self.wait(lambda: self.child.poll() is not None or self.beats, 20.0, "a heartbeat")
        begin = time.monotonic()
        self.await_status(begin, row, row.decided_s)
        self.await_beat(begin, row.decision, row.reason)
        assert not self.commands

    def remains(self, row: FaultRow, since: float, seconds: float) -> None:
        """Check that it stays in RUN for this time, and that commands continue at the rate."""
        time.sleep(max(0.0, since + seconds - time.monotonic()))
        others = [b for at, b in self.beats if at > since and b["decision"] != "RUN"]
        assert not others, (others[:3], self.say())
        heard = [v for at, v in self.commands if at > since]
        assert len(heard) > 0.6 / PERIOD_S, (len(heard), self.say())
        self.await_commands(self.wanted, since)
        if row.command == "bounded":
            assert any(abs(v) == BOUND for v in self.commands[-1][1])

    def publishes(self, row: FaultRow, since: float) -> None:
        """Check that after the decision the command topic shows what the row promises."""
        if row.command == "stop":
            self.await_commands((0.0, 0.0), since)
        elif row.command == "held":
            held = next(v for at, v in reversed(self.commands) if at < since - 2 * PERIOD_S)
            self.await_commands(held, since)
        elif row.command == "policy":
            self.await_commands(self.wanted, since)
        else:
            assert row.command == "none"
            quiet = time.monotonic() + 0.1
            time.sleep(0.4)
            assert not [v for at, v in self.commands if at > quiet]

    def recovers(self, row: FaultRow) -> None:
        """Check that RUN returns as the row promises, in its time, and the policy commands."""
        begin = time.monotonic()
        if row.recovers == "~/arm":
            time.sleep(0.5)  # longer than hold_recover
            assert self.decision == row.decision, self.say()
            answer = self.peer.trigger("arm")
            assert answer.success, answer.message
            begin = time.monotonic()
        self.await_beat(begin, "RUN", "none")
        back = next(at for at, b in self.beats if at > begin and b["decision"] == "RUN")
        if row.recovers_s:
            assert back - begin <= row.recovers_s, (back - begin, self.say())
        self.await_commands(self.wanted, back)


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Children that live as long as the tests of the module."""
    made = Nursery(tmp_path_factory.mktemp("children"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultGraph]:
    """One runner for many faults; each test restores it."""
    graph = FaultGraph(nursery, tmp_path_factory.mktemp("shared"))
    yield graph
    graph.close()


@pytest.fixture
def robot(shared: FaultGraph) -> Iterator[FaultGraph]:
    """The shared graph; after the test the robot's messages are restored."""
    yield shared
    shared.velocity, shared.twist = [1.0, -2.0], [0.5, 0.25, 0.0, 0.0]
    shared.orientation, shared.shift_ns, shared.shifted = UPRIGHT, 0, {"joints"}
    shared.silent.clear()
    shared.spoil = shared.encode = None


@pytest.fixture
def fault_graphs(nursery: Nursery, tmp_path: Path) -> Iterator[Callable[..., FaultGraph]]:
    """`fault_graphs(program=…, env=…, simulated=…, **parameters)`: a runner for one test."""
    opened: list[FaultGraph] = []

    def make(**how: Any) -> FaultGraph:
        opened.append(FaultGraph(nursery, tmp_path, **how))
        return opened[-1]

    yield make
    for graph in opened:
        graph.close()
