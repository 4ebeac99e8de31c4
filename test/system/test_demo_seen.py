"""The demo as an operator sees it: in Foxglove's layout, and afterwards in its black box."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from children import wait_until
from layout_rig import message_paths, resolve, topic_of, topics

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("rclpy", "mujoco")),
    reason="the demo needs rclpy and mujoco",
)
ROOT = Path(__file__).resolve().parents[2]
CLI = ["python", "-m", "policy_runner.cli.main"]
# Statuses that depend on the machine's sensors.
OF_THE_MACHINE = ("jetson_diagnostics: gpu", "jetson_diagnostics: temperature")


class Listener:
    """Looks for every path of the layout in the messages of the graph."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self.missing = {
            path for path in message_paths() if not any(one in path for one in OF_THE_MACHINE)
        }
        self.silent = topics()
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("layout", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._heard: set[str] = set()

    def look(self) -> bool:
        """Subscribe to what is there by now, and read for a moment; whether nothing is missing."""
        for topic, kinds in self._node.get_topic_names_and_types():
            if topic in self.silent and topic not in self._heard:
                self._heard.add(topic)
                self._subscribe(topic, kinds[0])
        for _ in range(50):
            self._executor.spin_once(timeout_sec=0.02)
        return not self.missing and not self.silent

    def _subscribe(self, topic: str, kind: str) -> None:
        from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

        from policy_runner.ros.messages.types import message_class

        def take(message: Any) -> None:
            self.silent.discard(topic)
            for path in [one for one in self.missing if topic_of(one) == topic]:
                if resolve(path, message):
                    self.missing.discard(path)

        # The demo may log nothing after its start, so what it logged before counts, too.
        latched = topic in ("/robot_description", "/rosout")
        qos = QoSProfile(
            depth=50,
            reliability=ReliabilityPolicy.RELIABLE if latched else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        self._node.create_subscription(message_class(kind, topic), topic, take, qos)

    def close(self) -> None:
        self._executor.shutdown(1.0)
        self._node.destroy_node()
        self._context.try_shutdown()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


def test_the_layout_shows_the_demo_and_its_stop_is_replayed_to_the_bit(
    spawn: Any, tmp_path: Path, listener: Listener, capsys: pytest.CaptureFixture[str]
) -> None:
    from policy_runner.cli.main import main

    logs = {"ROS_LOG_DIR": str(tmp_path)}
    child = spawn([*CLI, "demo", "--duration", "100", "--headless"], env=logs)
    try:
        wait_until(listener.look, 60.0)
    except AssertionError:
        pytest.fail(f"not in the demo: {sorted(listener.missing | listener.silent)}")
    press = spawn([*CLI, "ctl", "estop"])
    assert press.wait(20.0) == 0, press.quote()
    files = wait_until(lambda: list((tmp_path / "black_box").glob("*.mcap")), 20.0)
    child.send(signal.SIGINT)
    assert child.wait(20.0) == 0, child.quote()
    code = main(["replay", "models/balancer", str(files[0])])
    said = capsys.readouterr().out
    assert code == 0, said
    assert "written because: SAFE_STOP" in said
    assert "every decision and command is the same, to the bit" in said


def test_every_status_of_the_machine_in_the_layout_is_documented() -> None:
    """A test of the page compares it with running nodes, on a board with all sensors."""
    page = (ROOT / "docs" / "reference" / "diagnostics.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([^`]+)` \| [^|]* \| (.*) \|$", page, re.MULTILINE))
    found = 0
    for path in message_paths():
        name, key = [*re.findall(r'=="([^"]*)"', path), "", ""][:2]
        if name in OF_THE_MACHINE:
            assert f"`{key}`" in rows[name], (name, key)
            found += 1
    assert found == 2


def test_a_wrong_path_is_found() -> None:
    from types import SimpleNamespace

    pair = SimpleNamespace(key="load", value="7")
    message = SimpleNamespace(status=[SimpleNamespace(name="cpu", values=[pair])])
    path = '/diagnostics.status[:]{name=="cpu"}.values[:]{key=="load"}.value'
    assert resolve(path, message) == ["7"]
    assert resolve(path.replace("load", "lode"), message) == []
    assert resolve(path.replace("[:]{name", "[1]{name"), message) == []


def test_rviz_shows_topics_of_the_robot() -> None:
    content = yaml.safe_load((ROOT / "config" / "policy_runner.rviz").read_text("utf-8"))
    shown = content["Visualization Manager"]["Displays"]
    named = [
        value["Value"]
        for display in shown
        for key, value in display.items()
        if key.endswith("Topic")
    ]
    assert sorted(named) == ["/odom", "/robot_description"]
    assert set(named) <= topics()
    assert content["Visualization Manager"]["Global Options"]["Fixed Frame"] == "odom"
