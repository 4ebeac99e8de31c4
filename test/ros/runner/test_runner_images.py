"""Images in a ROS graph; and a warning about a recurrent model without state."""

from __future__ import annotations

import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from children import wait_until
from runner_rig import GraphMaker, spec, values_by_name, write_policy
from runner_rig import graphs as graphs

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)


def image_policy(**term: Any) -> dict[str, Any]:
    """The toy policy's four inputs are the pixels of a gray image of 2 x 2."""
    whole = {
        "term": "image", "input": "camera", "color": "gray", "size": [2, 2], "layout": "chw",
        "scale": 0.1, **term,
    }  # fmt: skip
    return spec(
        inputs={"camera": {"type": "sensor_msgs/msg/Image", "topic": "camera"}},
        observation=[{"tensor": "obs", "whole": whole, "normalization": "none"}],
    )


@pytest.fixture
def camera() -> Any:
    """`camera(graph, width, data)` publishes an image at 100 Hz until the test ends."""
    ending = threading.Event()
    threads = []

    def start(graph: Any, width: int, data: bytes) -> None:
        from sensor_msgs.msg import Image

        publisher = graph.peer.publisher(Image, "camera")
        height = len(data) // width
        message = Image(height=height, width=width, encoding="mono8", step=width, data=data)

        def publish() -> None:
            while not ending.wait(0.01):
                publisher.publish(message)

        threads.append(threading.Thread(target=publish))
        threads[-1].start()

    yield start
    ending.set()
    for thread in threads:
        thread.join()


def test_pixels_become_a_command(graphs: GraphMaker, camera: Any) -> None:
    from sensor_msgs.msg import JointState

    graph = graphs(policy=image_policy())
    commands = graph.peer.hear(JointState, "joint_commands", 50)
    graph.activate()
    camera(graph, 2, bytes([10, 20, 30, 40]))
    graph.await_decision("RUN")
    # 0.1 x pixels are 1, 2, 3, 4; the action is twice the first two plus the last two.
    wait_until(lambda: commands, what="a command")
    assert values_by_name(commands[-1][1]) == pytest.approx(
        {"left_joint": 5.0, "right_joint": 8.0}, rel=1e-6
    )


def test_an_image_of_another_size_is_said(graphs: GraphMaker, camera: Any) -> None:
    graph = graphs(policy=image_policy())
    graph.activate()
    camera(graph, 3, bytes(9))
    detail = graph.await_decision("STARTING", "observation not usable")
    assert detail == "obs: 3 x 3 pixels instead of 2 x 2, and resize is refuse"


def test_a_recurrent_model_that_forgets_is_reported(
    graphs: GraphMaker, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    folder = tmp_path / "policy"
    write_policy(folder)
    model = onnx.load(str(folder / "toy.onnx"))
    # A GRU in the model without a fed initial state; its output does not change the action.
    shapes = {"gru_w": (1, 6, 4), "gru_r": (1, 6, 2)}
    for name, shape in shapes.items():
        model.graph.initializer.append(
            numpy_helper.from_array(np.zeros(shape, np.float32), name)
        )  # fmt: skip
    axes = numpy_helper.from_array(np.array([0], np.int64), "axis")
    model.graph.initializer.append(axes)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 2), np.float32), "none"))
    last = next(node for node in model.graph.node if node.output[0] == "actions")
    last.output[0] = "without"
    model.graph.node.extend(
        [
            helper.make_node("Unsqueeze", ["obs", "axis"], ["sequence"]),
            helper.make_node(
                "GRU", ["sequence", "gru_w", "gru_r"], ["", "hidden"], name="memory", hidden_size=2
            ),
            helper.make_node("Squeeze", ["hidden", "axis"], ["flat"]),
            helper.make_node("Mul", ["flat", "none"], ["nothing"]),
            helper.make_node("Add", ["without", "nothing"], ["actions"]),
        ]
    )
    onnx.save(model, str(folder / "toy.onnx"))
    graph = graphs()
    assert graph.peer.change("configure"), graph.node._problems
    said = capfd.readouterr().err
    assert "keeps no memory" in said
    assert "memory" in said or "GRU" in said
