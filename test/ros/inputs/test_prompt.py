"""The text of a policy in a graph: a latched topic, a parameter, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from children import wait_until
from runner_rig import Graph, GraphMaker, values_by_name
from runner_rig import graphs as graphs
from text_policy import write_text_policy

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
PROMPT = "/policy_runner/prompt"


def _publish(node: Any, text: str, latched: bool) -> Any:
    """A new publisher with this text; keep it, or a latched text is gone."""
    from rclpy.qos import DurabilityPolicy as Durability
    from rclpy.qos import QoSProfile
    from rclpy.qos import ReliabilityPolicy as Reliability
    from std_msgs.msg import String

    qos = QoSProfile(
        depth=1,
        reliability=Reliability.RELIABLE if latched else Reliability.BEST_EFFORT,
        durability=Durability.TRANSIENT_LOCAL if latched else Durability.VOLATILE,
    )
    publisher = node.create_publisher(String, PROMPT, qos)
    if not latched:
        wait_until(lambda: publisher.get_subscription_count() >= 1, 10.0, "a subscription")
    publisher.publish(String(data=text))
    return publisher


def _commanded(graph: Graph) -> Callable[[str], None]:
    """A function that waits until the policy commands with a text."""
    from sensor_msgs.msg import JointState

    commands = graph.peer.hear(JointState, "joint_commands", 500)

    def await_text(text: str) -> None:
        wanted = {
            name: pytest.approx(speed + text.encode()[0] / 10.0, rel=1e-5)
            for name, speed in zip(("left_joint", "right_joint"), (1.0, -2.0), strict=True)
        }
        wait_until(
            lambda: bool(commands) and values_by_name(commands[-1][1]) == wanted,
            10.0,
            f"commands of '{text}'",
        )

    return await_text


def test_the_newest_text_counts_wherever_it_came_from(graphs: GraphMaker, tmp_path: Path) -> None:
    """A publisher that began before the node, the parameter, and one that is not latched."""
    import rclpy

    write_text_policy(tmp_path / "policy")
    context = rclpy.Context()
    rclpy.init(context=context)
    early = rclpy.create_node("early", context=context)
    kept = [_publish(early, "a first one", latched=True)]
    graph = graphs(prompt="p of the file", black_box__seconds=20.0,
                   black_box__folder=str(tmp_path / "boxes"))  # fmt: skip
    graph.peer.feed()
    await_text = _commanded(graph)
    graph.activate()
    await_text("a")
    assert graph.await_status("inputs", "all inputs arrive")["prompt text"] == "a first one"

    assert graph.peer.set(prompt="b by parameter") == []
    await_text("b")
    kept.append(_publish(early, "c, not latched", latched=False))
    await_text("c")

    (why,) = graph.peer.set(prompt="d" * 17)
    assert "a text of 17 bytes in UTF-8, at most 16 are read" in why
    kept.append(_publish(early, "e" * 17, latched=True))
    graph.await_status("inputs", "prompt: a text of 17 bytes in UTF-8, at most 16 are read")
    await_text("c")

    assert graph.peer.trigger("reload").success
    await_text("c")
    assert graph.peer.change("deactivate")
    assert graph.peer.change("activate")
    await_text("c")

    kept.append(_publish(early, "", latched=True))
    graph.await_decision("HOLD", "input never seen")
    assert graph.peer.set(prompt="f again") == []
    await_text("f")
    _replays(graph)

    # An empty text outlives a reload, too: the parameter does not begin the task again.
    kept.append(_publish(early, "", latched=True))
    graph.await_decision("HOLD", "input never seen")
    before = graph.node.configured
    assert graph.peer.trigger("reload").success
    assert graph.node.configured is not before
    assert not graph.node.configured.pipeline.slots["prompt"].text.is_given
    early.destroy_node()
    context.try_shutdown()


def _replays(graph: Graph) -> None:
    """The black box has the texts of topic and parameter, and replays to the bit."""
    from policy_runner.ros.black_box.opened import open_box

    answer = graph.peer.trigger("dump")
    assert answer.success, answer.message
    (file,) = wait_until(
        lambda: list(Path(graph.node.parameters.value("black_box.folder")).glob("*.mcap")),
        20.0,
        "a file",
    )
    spec = graph.node.configured.policy.spec_file.path
    alike = [one.equal for one in open_box(file, spec).replay()]
    assert len(alike) > 5
    assert all(alike)


def test_the_parameter_alone_is_enough(graphs: GraphMaker, tmp_path: Path) -> None:
    write_text_policy(tmp_path / "policy")
    graph = graphs()
    graph.peer.feed()
    await_text = _commanded(graph)
    graph.activate()
    detail = graph.await_decision("STARTING", "input never seen")
    assert detail.startswith("prompt: no text")
    assert graph.peer.set(prompt="wave") == []
    await_text("wave")
    graph.await_status("inputs", "all inputs arrive")
    for verb in ("deactivate", "cleanup", "configure"):
        assert graph.peer.change(verb)
    made = graph.node.configured
    graph.node._reports.explain_silence(made)
    slot = made.pipeline.slots["prompt"]
    assert slot.text.data == b"wave"
    assert slot.silence == ""  # no publisher is missed


def test_a_prompt_that_no_input_reads_is_refused(graphs: GraphMaker) -> None:
    graph = graphs(policy={}, prompt="wave")
    assert not graph.peer.change("configure")
    (said,) = [one for one in graph.node._problems if "prompt" in one]
    assert said == (
        "parameter prompt: expected nothing, since the policy has no input of type"
        " std_msgs/msg/String, got 'wave'; leave it out"
    )
