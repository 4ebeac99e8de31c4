"""Random reloads, stops, hangs and signals: every commanded output gets its last command.

The test judges only messages that a subscriber in another process received.
"""

from __future__ import annotations

import math
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import leftovers
import pytest
import yaml
from children import Child, Nursery, wait_until
from ending_rig import quick_discovery
from fault_policy import write_fault_policy
from fault_rig import RUNNER
from fault_robot import ScriptedRobot
from fuzzing import SEED
from runner_rig import JOINTS, Peer, write_parameters

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
    ),
]
MINUTES = float(os.environ.get("POLICY_RUNNER_SOAK_MINUTES", "0"))
EPISODES, EVENTS = 2, 7  # outside `make soak`
BOUND = 20.0
SPACE = "/soak"
LEFT, RIGHT = JOINTS
ARRIVED_S = 0.3  # published messages arrive within this time
GONE_S = 3.0  # 2 s for the end, and a margin for a shared machine
Group = dict[str, Any]


def _group(kind: str, at: int, *names: str) -> Group:
    key = "axes" if kind == "twist" else "joints"
    return {"kind": kind, key: list(names), "slice": [at, at + len(names)]}


# The groups of each policy, from the model's two outputs.
POLICIES: dict[str, list[Group]] = {
    "velocities": [_group("velocity", 0, LEFT, RIGHT)],
    "left velocity": [_group("velocity", 0, LEFT)],
    "right velocity": [_group("velocity", 1, RIGHT)],
    "efforts": [_group("effort", 0, LEFT, RIGHT)],
    "positions": [_group("position", 0, LEFT, RIGHT)],
    "position and velocity": [_group("position", 0, LEFT), _group("velocity", 1, RIGHT)],
    "velocity and effort": [_group("velocity", 0, LEFT), _group("effort", 1, RIGHT)],
    "velocity and twist": [_group("velocity", 1, RIGHT), _group("twist", 0, "linear.x")],
}
KINDS = ("position", "velocity", "effort")
Output = tuple[str, str, str]  # topic, kind, joint or axis


def write_policy(folder: Path, name: str) -> None:
    """Write the policy of the fault matrix with other outputs."""
    write_fault_policy(folder)
    file = folder / "policy.yaml"
    content = yaml.safe_load(file.read_text("utf-8"))
    content["action"] = [{"tensor": "actions", "groups": POLICIES[name]}]
    content["limits"] = {".*": {"lower": -BOUND, "upper": BOUND}}
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def outputs_of(name: str) -> set[Output]:
    """Return the outputs of a policy."""
    groups = POLICIES[name]
    single = len({group["kind"] for group in groups}) == 1
    return {
        ("joint_commands" + ("" if single else f"/{group['kind']}"), group["kind"], one)
        for group in groups
        for one in group.get("joints", group.get("axes"))
    }


class Receiver:
    """Keeps the newest value of every received output."""

    def __init__(self, peer: Peer) -> None:
        from geometry_msgs.msg import TwistStamped
        from sensor_msgs.msg import JointState

        self.newest: dict[Output, float] = {}
        self.wrong: list[tuple[Output, float]] = []
        self.count = 0
        for kind in ("", *KINDS):
            topic = f"joint_commands/{kind}".rstrip("/")
            peer.node.create_subscription(JointState, topic, self._hearing(topic), 500)
        twist = "joint_commands/twist"
        peer.node.create_subscription(
            TwistStamped, twist, lambda m: self._take((twist, "twist", "linear.x"), _x(m)), 500
        )

    def _hearing(self, topic: str) -> Callable[[Any], None]:
        def heard(message: Any) -> None:
            for kind in KINDS:
                for joint, value in zip(message.name, getattr(message, kind), strict=False):
                    self._take((topic, kind, joint), value)

        return heard

    def _take(self, output: Output, value: float) -> None:
        self.count += 1
        self.newest[output] = value
        if not (math.isfinite(value) and abs(value) <= BOUND):
            self.wrong.append((output, value))

    def moving(self) -> dict[Output, float]:
        """Return the outputs that are not stopped; positions may stay."""
        return {o: v for o, v in self.newest.items() if o[1] != "position" and v != 0.0}


def _x(message: Any) -> float:
    return float(message.twist.linear.x)


class Episode:
    """One runner process, from its start to its end."""

    def __init__(self, spawn: Nursery, folder: Path, peer: Peer, receiver: Receiver, story: str):
        self.rng = random.Random(story)
        self.story = [story]
        self.peer, self.receiver = peer, receiver
        self.robot: Any = None
        self.folder = folder / "policy"
        self.name = self.rng.choice(list(POLICIES))
        write_policy(self.folder, self.name)
        given = {
            "policy": str(self.folder),
            "autostart": True,
            "require_arming": False,
            "safety__hold_recover": 0.1,
            **{f"inputs__{name}__max_age": 0.3 for name in ("joints", "imu", "command")},
        }
        file = write_parameters(folder / "parameters.yaml", **given)
        words = ["--ros-args", "-r", f"__ns:={SPACE}", "--params-file", str(file)]
        self.child: Child = spawn(["python", *RUNNER, *words], env=quick_discovery(folder))
        receiver.newest.clear()

    def runs(self) -> None:
        """Wait until the runner commands every output."""
        wanted = outputs_of(self.name)
        wait_until(lambda: wanted <= set(self.receiver.newest), 30.0, "commands of every output")

    # --- what happens ---

    def reload(self) -> None:
        """Reload another policy; outputs that it does not command must have stopped."""
        name = self.rng.choice([one for one in POLICIES if one != self.name])
        self.story[-1] += f" to {name}"
        write_policy(self.folder, name)
        left = outputs_of(self.name) - outputs_of(name)
        if not self.peer.trigger("reload").success:
            write_policy(self.folder, self.name)
            return
        self.name = name
        time.sleep(ARRIVED_S)
        still = {o: v for o, v in self.receiver.moving().items() if o in left}
        assert not still, f"left with the reload and still commanded: {still}"

    def reload_in_a_hang(self) -> None:
        """Reload while the control thread is late, or too late for the reload."""
        self.robot.twist[2] = 1.0
        time.sleep(0.05)
        self.reload()
        self.robot.twist[2] = 0.0

    def hang(self) -> None:
        """Make inferences take about ten periods."""
        self.robot.twist[2] = 1.0
        time.sleep(self.rng.uniform(0.05, 0.5))
        self.robot.twist[2] = 0.0

    def not_a_number(self) -> None:
        """Let the model output NaN."""
        self.robot.twist[3] = 2.0
        time.sleep(0.2)
        self.robot.twist[3] = 0.0

    def huge(self) -> None:
        """Let the model output numbers far beyond the bounds."""
        self.robot.velocity[:] = [self.rng.choice((1e9, -1e9, 1e30)), 1e6]
        time.sleep(0.2)
        self.robot.velocity[:] = [1.0, -2.0]

    def silence(self) -> None:
        """Stop the joint states."""
        self.robot.silent.add("joints")
        time.sleep(0.6)
        still = self.receiver.moving()
        self.robot.silent.discard("joints")
        assert not still, f"moves while the joints are silent: {still}"

    def estop(self) -> None:
        """Press the emergency stop, release it, and arm."""
        from std_msgs.msg import Bool

        publisher = self.peer.publisher(Bool, f"{self.peer.runner}/estop")
        wait_until(publisher.get_subscription_count, 10.0, "a receiver of ~/estop")
        publisher.publish(Bool(data=True))
        self._stands("the emergency stop")
        publisher.publish(Bool(data=False))
        self._arm()

    def disarm(self) -> None:
        """Call ~/disarm, then ~/arm."""
        self.peer.trigger("disarm")  # takes effect even if the answer is too late
        self._stands("disarming")
        self._arm()

    def deactivate(self) -> None:
        """Deactivate for a while, with or without a reload in that time."""
        assert self.peer.change("deactivate")
        self._stands("deactivation")
        if self.rng.random() < 0.5:
            self.reload()
            self._stands("a reload while inactive")
        assert self.peer.change("activate")
        time.sleep(0.5)

    def stand_still(self) -> None:
        """Stop the process for a while."""
        self.child.send(signal.SIGSTOP)
        time.sleep(self.rng.uniform(0.05, 0.6))
        self.child.send(signal.SIGCONT)

    def _stands(self, after: str) -> None:
        def stands() -> bool:
            return not self.receiver.moving()

        wait_until(stands, 2.0, f"all outputs at rest after {after}")
        time.sleep(ARRIVED_S)
        assert stands(), f"moves after {after}: {self.receiver.moving()}"

    def _arm(self) -> None:
        wait_until(lambda: self.peer.trigger("arm").success, 10.0, "arming")
        time.sleep(0.3)

    # --- how it ends ---

    def end(self) -> None:
        """End by a transition or by a signal, while the runner runs or hangs."""
        how = self.rng.choice(("deactivate", "SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"))
        hangs = self.rng.random() < 0.4
        self.story.append(f"{how}{' in a hang' if hangs else ''}")
        if hangs:
            self.robot.twist[2] = 1.0
            time.sleep(0.1)
        if how == "deactivate":
            self.peer.change(how)
        else:
            self.child.send(getattr(signal, how))
            code = self.child.wait(GONE_S)
            assert code >= 0, self.child.quote()
        self.robot.twist[2] = 0.0
        self._stands(how)


HAPPENS: dict[str, Callable[[Episode], None]] = {
    name: getattr(Episode, name)
    for name in (
        *("reload", "reload", "reload_in_a_hang", "hang", "not_a_number", "huge", "silence"),
        *("estop", "disarm", "deactivate", "stand_still"),
    )
}


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    import rclpy

    context = rclpy.Context()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in quick_discovery(tmp_path).items():
            patch.setenv(name, value)
        rclpy.init(context=context)
        made = Peer(context, SPACE, f"{SPACE}/policy_runner")
    made.settling_s = 0.1
    yield made
    made.close()
    context.try_shutdown()


@pytest.mark.timeout(7200 if MINUTES else 180)
def test_whatever_was_commanded_gets_its_last_command(
    spawn: Nursery, tmp_path: Path, peer: Peer
) -> None:
    receiver = Receiver(peer)
    happened: Counter[str] = Counter()
    begin, episode = time.monotonic(), 0
    while time.monotonic() - begin < MINUTES * 60.0 or episode < EPISODES:
        folder = tmp_path / f"episode{episode}"
        folder.mkdir()
        life = Episode(spawn, folder, peer, receiver, f"{SEED} {episode}")
        life.robot = ScriptedRobot(peer, "position", False, set())
        life.robot.begin()
        try:
            life.runs()
            for _ in range(EVENTS):
                name = life.rng.choice(list(HAPPENS))
                life.story.append(name)
                happened[name] += 1
                HAPPENS[name](life)
                time.sleep(life.rng.uniform(0.0, 0.4))
                assert life.child.poll() is None, life.child.quote()
            life.end()
            assert not receiver.wrong, receiver.wrong[:5]
        except Exception as error:
            raise AssertionError(f"{life.story}: {error}") from error
        finally:
            life.robot.end()
            if life.child.poll() is None:
                life.child.stop()
            if "stand_still" in life.story:  # the middleware may have replaced its ports
                leftovers.remove_segments_of(life.child.pid)
        episode += 1
    minutes = (time.monotonic() - begin) / 60.0
    print(f"outputs: {minutes:.1f} min, {receiver.count} numbers in {episode} runs: {happened}")  # noqa: T201
