"""A policy of chunks with a camera is evaluated: in its lane, and with its latency."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_runner.core.errors import Refusal
from policy_runner.package_files import share_path

pytestmark = [
    pytest.mark.skipif(find_spec("mujoco") is None, reason="mujoco is not installed"),
    pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed"),
]
PARAMETERS = """\
policy_runner:
  ros__parameters:
    rate: 100.0
    inference: {simulated_latency: 0.2}
    inputs: {camera: {max_age: 0.5}}
"""


@pytest.fixture
def subject(tmp_path: Path) -> Any:
    from policy_runner.sim.camera import Cameras
    from policy_runner.sim.evaluate.subject import Subject
    from policy_runner.sim.plant.plant import Plant
    from policy_runner.sim.robot_file.robot_reader import read_robot

    reach = Path(share_path("models", "reach"))
    try:
        Cameras(Plant(read_robot(reach))).close()
    except Refusal as refusal:
        pytest.skip(str(refusal))
    params = tmp_path / "params.yaml"
    params.write_text(PARAMETERS, "utf-8")
    return Subject(reach, reach, params)


def test_the_episodes_of_chunks_do_not_depend_on_each_other(subject: Any) -> None:
    from policy_runner.sim.evaluate.episode import EpisodeRunner, Job
    from policy_runner.sim.evaluate.plan import Conditions, Plan
    from policy_runner.sim.evaluate.subject import NO_CHANGE

    plan = Plan(2, 0.8, conditions=Conditions(command_delay=(0.02, 0.02), packet_loss=(0.1, 0.1)))
    runner = EpisodeRunner(subject)
    first, second, again = (runner.run(Job(NO_CHANGE, plan, k)).episode for k in (0, 1, 0))
    runner.close()
    assert first == again
    assert first != second
    # The first result counts after the simulated latency; from then on the arm moves.
    assert first.ran == first.ticks - 20
    assert first.energy > 0.01
    assert first.command_steps > 0.0


@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("mcap", "rosbags")), reason="needs mcap and rosbags"
)
def test_a_recording_with_images_replays_to_the_bit(subject: Any, tmp_path: Path) -> None:
    from mcap.reader import make_reader
    from rosbags.typesys import Stores, get_typestore

    from policy_runner.cli.main import main

    record, output = tmp_path / "run.mcap", tmp_path / "run.npz"
    params = ["--params", str(subject.params)]
    words = ["evaluate", str(subject.spec), "--robot", str(subject.robot), *params, "--jobs", "1"]
    words += ["--episodes", "1", "--seconds", "0.5", "--record", str(record)]
    assert main(words) == 0
    assert main(["replay", str(subject.spec), str(record), *params, "-o", str(output)]) == 0
    store, sent, images = get_typestore(Stores.ROS2_JAZZY), [], []
    with record.open("rb") as stream:
        for schema, channel, message in make_reader(stream).iter_messages():
            assert schema is not None
            one = store.deserialize_cdr(message.data, schema.name)
            if channel.topic == "/commands/position":
                sent.append(one.position)
            elif channel.topic == "/image":
                images.append((one.height, one.width, one.encoding, one.step, one.data.std() > 5))
    assert set(images) == {(64, 64, "rgb8", 192, True)}
    limited = np.load(output)["limited"]
    assert len(sent) == 30
    assert np.array_equal(sent, limited[-30:])
