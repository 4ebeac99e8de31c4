"""A session computes what the node's pipeline computes, and sessions do not see each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import several_rig
from cli_rig import signals, write_policy
from serve_rig import observation
from text_policy import write_text_policy

from policy_runner.cli.replay.run import replay_messages
from policy_runner.cli.replay.signals import signal_events
from policy_runner.core.errors import Refusal
from policy_runner.robot.load import load_policy
from policy_runner.serving.session.request import KeyRule
from policy_runner.serving.session.served_policy import ServedPolicy

TICKS = 20


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPolicy]:
    policy = ServedPolicy(write_policy(tmp_path_factory.mktemp("toy")))
    yield policy
    policy.close()


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A switch of two policies: one with history, encoder and memory, one with a state."""
    return several_rig.write(tmp_path_factory.mktemp("several"), several_rig.switch())


def several_observation(given: dict[str, np.ndarray], k: int) -> dict[str, Any]:
    command = given["command"][k]
    return {
        "joints/position": given["position"][k],
        "joints/velocity": given["velocity"][k],
        **{f"command/{axis}": command[j]
           for j, axis in enumerate(("linear.x", "linear.y", "angular.z"))},
    }  # fmt: skip


def replayed(
    spec: Path, arrays: dict[str, np.ndarray], params: Path | None = None
) -> dict[str, np.ndarray]:
    loaded = load_policy(spec, params)
    events = iter(signal_events(arrays, loaded.spec.inputs, "signals.npz"))
    return replay_messages(loaded, events, 0.0, 0.0, lambda _count: None)


def test_observations_and_actions_are_the_replays_to_the_bit(toy: ServedPolicy) -> None:
    given = signals(TICKS)
    wanted = replayed(toy.loaded.spec_file.path, given)
    session = toy.session()
    for k in range(TICKS):
        fields, _ = session.answer({**observation(given, k), "details": True})
        assert fields["decision"] == wanted["decision"][k] == "RUN"
        assert fields["actions"][0].tobytes() == wanted["limited"][k].tobytes()
        assert fields["observation/obs"].tobytes() == wanted["observation/obs"][k].tobytes()
        assert fields["target"].tobytes() == wanted["target"][k].tobytes()


def test_a_policy_of_several_models_is_the_replays_to_the_bit(several: Path) -> None:
    given = several_rig.recorded(60)
    arrays = {
        "control_dt": np.array(several_rig.PERIOD_S),
        "joints/name": np.array(several_rig.JOINTS),
        "joints/position": given["position"],
        "joints/velocity": given["velocity"],
        **{f"command/{axis}": given["command"][:, k]
           for k, axis in enumerate(("linear.x", "linear.y", "angular.z"))},
    }  # fmt: skip
    wanted = replayed(several, arrays)
    assert len(set(wanted["policy"])) == 2
    policy = ServedPolicy(several)
    assert policy.tensors is None
    session = policy.session()
    for k in range(60):
        fields, _ = session.answer(several_observation(given, k))
        assert fields["actions"][0].tobytes() == wanted["limited"][k].tobytes()


def test_eight_sessions_get_what_each_would_get_alone(several: Path) -> None:
    """Interleaved in a random order, each with inputs of its own."""
    policy = ServedPolicy(several)
    random = np.random.default_rng(5)
    offsets = random.permutation(100)[:8]
    given = several_rig.recorded()
    alone = []
    for offset in offsets:
        session = policy.session()
        ticks = [session.answer(several_observation(given, offset + k)) for k in range(30)]
        alone.append([fields["actions"].tobytes() for fields, _ in ticks])
    sessions = [policy.session() for _ in offsets]
    at = [0] * 8
    for one in random.permutation(np.repeat(np.arange(8), 30)):
        wanted = alone[one][at[one]]
        fields, _ = sessions[one].answer(several_observation(given, offsets[one] + at[one]))
        assert fields["actions"].tobytes() == wanted
        at[one] += 1
    assert len({tuple(one) for one in alone}) == 8


def test_a_reset_is_a_new_session(several: Path) -> None:
    policy = ServedPolicy(several)
    given = several_rig.recorded(10)
    session = policy.session()
    first = [session.answer(several_observation(given, k))[0]["actions"] for k in range(10)]
    again = [
        session.answer({**several_observation(given, k), "reset": k == 0})[0]["actions"]
        for k in range(10)
    ]
    assert np.array_equal(first, again)
    assert not np.array_equal(first[0], first[1])


def test_a_group_gets_what_each_row_would_get_alone(several: Path) -> None:
    policy = ServedPolicy(several)
    given = several_rig.recorded(40)
    offsets = (0, 7, 13)
    group = policy.group(3)
    singles = [policy.session() for _ in offsets]
    for k in range(20):
        rows = [several_observation(given, k + offset) for offset in offsets]
        joined: dict[str, Any] = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
        if k == 10:
            joined["reset"] = np.array([False, True, False])
            rows[1] = {**rows[1], "reset": True}
        fields, _ = group.answer(joined)
        for row, single, actions in zip(rows, singles, fields["actions"], strict=True):
            assert single.answer(row)[0]["actions"][0].tobytes() == actions.tobytes()
        assert len(fields["decision"]) == 3
    with pytest.raises(Refusal, match="3 rows first"):
        group.answer({"command/linear.x": np.zeros(2)})


def test_a_text_is_for_all_rows_of_a_group(several: Path) -> None:
    """openpi's clients send `prompt`; `--ignore prompt` drops it with one row and with several."""
    policy = ServedPolicy(several, rule=KeyRule(ignored=frozenset({"prompt"})))
    given = several_observation(several_rig.recorded(1), 0)
    joined = {key: np.stack([value] * 2) for key, value in given.items()}
    fields, _ = policy.group(2).answer({**joined, "prompt": "fold the towel"})
    assert len(fields["actions"]) == 2


def test_a_silent_input_holds_as_on_the_robot(toy: ServedPolicy) -> None:
    given, session = signals(TICKS), toy.session()
    assert session.answer({})[0]["decision"] == "STARTING"
    assert session.answer({})[0]["actions"].shape == (0, 2)
    fields, _ = session.answer(observation(given, 0))
    assert fields["decision"] == "RUN"
    fields, _ = session.answer({"time": 5.0})
    assert (fields["decision"], fields["actions"].shape) == ("HOLD", (1, 2))
    assert "old" in fields["reason"]
    fields, _ = session.answer({**observation(given, 0), "imu/angular_velocity": [np.nan] * 3})
    assert fields["decision"] == "HOLD"
    assert np.isfinite(fields["actions"]).all()


def test_joints_without_names_are_in_the_policys_order(toy: ServedPolicy) -> None:
    given = signals(TICKS)
    named, unnamed = toy.session(), toy.session()
    one = observation(given, 3)
    other = {**one, "joints/position": one["joints/position"][[2, 1]]}
    del other["joints/name"], other["joints/velocity"]
    assert np.array_equal(named.answer(one)[0]["actions"], unnamed.answer(other)[0]["actions"])


def test_keys_of_a_client_are_renamed_and_dropped(toy: ServedPolicy) -> None:
    spec = toy.loaded.spec_file.path
    rule = KeyRule({"robot/gyro": "imu/angular_velocity"}, frozenset({"prompt"}))
    policy = ServedPolicy(spec, rule=rule)
    given = observation(signals(TICKS), 0)
    wanted = toy.session().answer(given)[0]["actions"]
    given["robot"] = {"gyro": given.pop("imu/angular_velocity")}
    assert np.array_equal(policy.session().answer({**given, "prompt": "go"})[0]["actions"], wanted)
    with pytest.raises(Refusal, match="INPUT one of imu, joints, cmd"):
        ServedPolicy(spec, rule=KeyRule({"a": "b/c"}))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"prompt": "go"}, "keys imu/..., joints/..., cmd/..."),
        ({"imo/angular_velocity": 1}, "did you mean 'imu'"),
        ({"imu/angular_velocity": [1.0]}, "3 numbers, got 1"),
        ({"imu/angular_velocity": "text"}, "numbers, got something else"),
        ({"imu/orientation": None}, "numbers"),
        ({"joints/name": ["hip"]}, "3 values of position for 1 names"),
        ({"joints/name": ["hip"] * 3}, "twice"),
        ({"reset": 1}, "true or false"),
        ({"details": "yes"}, "true or false"),
        ({"time": "now"}, "seconds"),
        ({"time": float("nan")}, "seconds"),
        ({"time": -1.0}, "seconds"),
        ({"id": [1]}, "a text"),
    ],
)
def test_unusable_requests_are_refused(
    toy: ServedPolicy, changes: dict[str, Any], word: str
) -> None:
    session = toy.session()
    with pytest.raises(Refusal, match=word):
        session.answer({**observation(signals(TICKS), 0), **changes})
    assert session.answer(observation(signals(TICKS), 0))[0]["decision"] == "RUN"


def test_time_does_not_go_back(toy: ServedPolicy) -> None:
    session = toy.session()
    given = observation(signals(TICKS), 0)
    assert session.answer({**given, "time": 3.0, "id": "a"})[0]["id"] == "a"
    with pytest.raises(Refusal, match="more than 3 s"):
        session.answer({**given, "time": 3.0})
    assert session.answer({**given, "time": 1.0, "reset": True})[0]["decision"] == "RUN"


def test_pixels_are_an_image_message(tmp_path: Path) -> None:
    """An image of arrays gives the observation that `replay` computes of the same pixels."""
    import onnx
    import yaml
    from cli_rig import spec
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["image"], ["actions"], axes=[2, 3], keepdims=0)], "mean",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 4, 6])],
        [helper.make_tensor_value_info("actions", TensorProto.FLOAT, [1, 3])],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "toy.onnx")
    names = ["a", "b", "c"]
    term = {"term": "image", "input": "camera", "color": "rgb", "size": [4, 6], "layout": "chw",
            "scale": 0.5}  # fmt: skip
    content = spec(
        joint_names=names, default_joint_pos=[0.0] * 3,
        inputs={"camera": {"type": "sensor_msgs/msg/Image", "topic": "image"}},
        observation=[{"tensor": "image", "normalization": "none", "whole": term}],
        action=[{"tensor": "actions", "groups": [{"kind": "position", "joints": names}]}],
    )  # fmt: skip
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(content))
    pixels = np.random.default_rng(3).integers(0, 255, (5, 4, 6, 3)).astype(np.uint8)
    wanted = replayed(tmp_path, {"control_dt": np.array(0.02), "camera/data": pixels})
    policy = ServedPolicy(tmp_path)
    session = policy.session()
    for k in range(5):
        fields, _ = session.answer({"camera/data": pixels[k], "details": True})
        assert fields["observation/image"].tobytes() == wanted["observation/image"][k].tobytes()
        assert fields["actions"][0].tobytes() == wanted["limited"][k].tobytes()
    for bad, word in ((pixels, "pixels"), ("text", "no array"), (pixels[0, :, :, :2], "encoding")):
        with pytest.raises(Refusal, match=word):
            session.answer({"camera/data": bad})
    assert set(policy.schema["properties"]["camera"]["properties"]) == {"data"}


def test_the_schema_names_every_field(toy: ServedPolicy) -> None:
    inputs = toy.schema["properties"]
    assert inputs["imu"]["properties"]["orientation"]["minItems"] == 4
    assert set(inputs["joints"]["properties"]) == {"name", "position"}
    assert toy.metadata["action_names"] == ["hip", "knee"]


@pytest.mark.parametrize("latency_s", [0.0, 0.03])
def test_a_policy_of_chunks_is_the_replays_to_the_bit(tmp_path: Path, latency_s: float) -> None:
    import lane_policy

    folder = lane_policy.write_policy(tmp_path / "chunks")
    params = tmp_path / "robot.yaml"
    text = f"inference: {{simulated_latency: {latency_s}}}"
    params.write_text(f"policy_runner: {{ros__parameters: {{{text}}}}}\n")
    random, count = np.random.default_rng(2), 25
    arrays = {
        "joints/position": random.normal(size=(count, 2)),
        "scan/ranges": random.uniform(1.0, 2.0, (count, 5)),
        "camera/data": random.integers(0, 256, (count, *lane_policy.PIXELS, 3), dtype=np.uint8),
    }
    loaded = load_policy(folder, params)
    known = {"control_dt": np.array(0.02), "joints/name": np.array(["b", "a"]), **arrays}
    events = iter(signal_events(known, loaded.spec.inputs, "signals.npz"))
    wanted = replay_messages(loaded, events, 0.0, 0.0, lambda _count: None)
    session = ServedPolicy(folder, params).session()
    for k in range(count):
        given = {"joints/name": ["b", "a"], **{key: rows[k] for key, rows in arrays.items()}}
        fields, _ = session.answer(given)
        assert fields["decision"] == wanted["decision"][k]
        if len(fields["actions"]):
            assert fields["actions"][0].tobytes() == wanted["limited"][k].tobytes()
    assert fields["decision"] == "RUN"


def test_a_text_comes_as_openpis_key_or_by_its_field(tmp_path: Path) -> None:
    policy = ServedPolicy(write_text_policy(tmp_path))
    speeds = {"joints/velocity": np.array([1.0, -2.0])}
    session = policy.session()
    fields, _ = session.answer(speeds)
    assert fields["decision"] == "STARTING"
    assert fields["reason"].endswith("prompt: no text; publish one, or set the parameter prompt")
    for k, given in enumerate(({"prompt": "a"}, {"prompt/data": "b"}, {"prompt": {"data": "c"}})):
        fields, _ = session.answer({**speeds, **given})
        assert fields["actions"][0] == pytest.approx([10.7 + 0.1 * k, 7.7 + 0.1 * k])
    fields, _ = session.answer(speeds)
    assert fields["actions"][0] == pytest.approx([10.9, 7.9])
    for bad, word in (("x" * 17, "17 bytes"), (3.0, "one text under 'data'"), ("a\0", "NUL")):
        with pytest.raises(Refusal, match=word):
            session.answer({**speeds, "prompt": bad})
    assert session.answer({**speeds, "reset": True})[0]["decision"] == "STARTING"
    assert policy.session().answer(speeds)[0]["decision"] == "STARTING"
    policy.close()


def test_a_text_in_a_recording_is_replayed(tmp_path: Path) -> None:
    """Without one in the recording the parameter `prompt` counts."""
    spec = write_text_policy(tmp_path)
    arrays = {
        "joints/name": np.array(["left_joint", "right_joint"]),
        "joints/velocity": np.zeros((10, 2)),
        "control_dt": np.array(0.02),
        "prompt/data": np.array(["a", "b"]),
        "prompt/t": np.array([0.0, 0.1]),
    }
    wanted = [9.7] * 5 + [9.8] * 5
    assert replayed(spec, arrays)["limited"][:, 0] == pytest.approx(wanted)
    params = tmp_path / "p.yaml"
    params.write_text("/**/policy_runner: {ros__parameters: {prompt: c}}\n", encoding="utf-8")
    without = {name: one for name, one in arrays.items() if "prompt" not in name}
    found = replayed(spec, without, params)["limited"]
    assert found[:, 0] == pytest.approx([9.9] * 10)
