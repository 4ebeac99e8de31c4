"""Configure refuses with all problems at once, and works after they are fixed."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from children import wait_until
from runner_rig import (
    JOINTS,
    Graph,
    GraphMaker,
    Peer,
    spec,
    write_parameters,
    write_policy,
)
from runner_rig import graphs as graphs

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
LFS_POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
)


def refused(graph: Graph, capfd: pytest.CaptureFixture[str]) -> list[str]:
    """Let configure refuse; return its log sentences. /diagnostics shows the first."""
    capfd.readouterr()
    assert not graph.peer.change("configure")
    assert graph.peer.state() == "unconfigured"
    logged = capfd.readouterr().err
    lines = [line.split("]: ", 1)[-1] for line in logged.splitlines() if "[ERROR]" in line]
    sentences = lines[:-1]
    assert lines[-1] == f"could not configure: {len(sentences)} problem(s), above"
    values = graph.await_status("model", sentences[0])
    assert values["problems"] == str(len(sentences))
    assert graph.statuses()["model"].level == b"\2"
    return sentences


def normalized() -> dict[str, Any]:
    given = spec()
    given["observation"][0]["normalization"] = {"preset": "sb3", "statistics": "statistics.npz"}
    return given


def write_statistics(folder: Path, size: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "statistics.npz", mean=np.zeros(size), var=np.ones(size))


def no_model(folder: Path) -> str:
    (folder / "toy.onnx").unlink()
    return "model.file: expected an ONNX file, got no file"


def empty_model(folder: Path) -> str:
    (folder / "toy.onnx").write_bytes(b"")
    return "toy.onnx: expected an ONNX model, got an empty file"


def truncated_model(folder: Path) -> str:
    content = (folder / "toy.onnx").read_bytes()
    (folder / "toy.onnx").write_bytes(content[: len(content) // 2])
    return "toy.onnx: expected an ONNX model that ONNX Runtime can load, got "


def pointer(folder: Path) -> str:
    (folder / "toy.onnx").write_bytes(LFS_POINTER)
    return "toy.onnx: expected an ONNX model, got a Git LFS pointer to a file of 12345 bytes"


def foreign_model(folder: Path) -> str:
    (folder / "toy.onnx").write_bytes(b"\x89PNG\r\n" + bytes(range(256)) * 40)
    return "toy.onnx: expected an ONNX model that ONNX Runtime can load, got "


def short_statistics(folder: Path) -> str:
    write_statistics(folder, 3)
    return "statistics.npz"


def no_statistics(folder: Path) -> str:
    (folder / "statistics.npz").unlink()
    return "statistics.npz"


def no_yaml(folder: Path) -> str:
    (folder / "policy.yaml").write_text("a: [", encoding="utf-8")
    return "policy.yaml"


def unknown_joint(folder: Path) -> str:
    given = normalized()
    given["action"][0]["groups"][0]["joints"] = ["left_joint", "right_joind"]
    (folder / "policy.yaml").write_text(yaml.safe_dump(given), encoding="utf-8")
    return "did you mean 'right_joint'?"


@pytest.mark.parametrize(
    "spoil",
    [
        no_model,
        empty_model,
        truncated_model,
        pointer,
        foreign_model,
        short_statistics,
        no_statistics,
        no_yaml,
        unknown_joint,
    ],
    ids=lambda spoil: spoil.__name__,
)
def test_a_bad_file_is_one_sentence_and_can_be_mended(
    graphs: GraphMaker,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    spoil: Callable[[Path], str],
) -> None:
    folder = tmp_path / "policy"
    write_statistics(folder, 4)
    graph = graphs(policy=normalized())
    says = spoil(folder)
    sentences = refused(graph, capfd)
    assert any(says in sentence for sentence in sentences), sentences
    for sentence in sentences:
        assert str(folder) in sentence
        assert "expected " in sentence
        assert ", got " in sentence
    assert not topics(graph)
    # After the fix it configures, and /diagnostics no longer shows the problem.
    write_policy(folder, **normalized())
    write_statistics(folder, 4)
    graph.activate()
    wait_until(lambda: len(topics(graph)) == 4, what="its topics")
    graph.await_status("model", "toy")


def topics(graph: Graph) -> list[str]:
    """Topics that only a configured runner has."""
    node = graph.node
    pairs = [
        *node.get_publisher_names_and_types_by_node(node.get_name(), node.get_namespace()),
        *node.get_subscriber_names_and_types_by_node(node.get_name(), node.get_namespace()),
    ]
    ours = ("joint_commands", "joint_states", "cmd_vel", "status", "dry_run", "clock")
    return [name for name, _ in pairs if name.rsplit("/", 1)[-1] in ours]


def test_all_problems_at_once(
    graphs: GraphMaker, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "policy"
    write_policy(folder)
    (folder / "toy.onnx").write_bytes(LFS_POINTER)
    graph = graphs(
        decimation=0,
        backend="tensorflow",
        lockstep=True,
        raet=5.0,
        inputs__joints__max_age=-1.0,
        inputs__joints__on_stael="hold",
        inputs__imu__max_age=1.0,
        joints__left_joint__sign=0.5,
        joints__left_joint__lower=2.0,
        joints__left_joint__upper=1.0,
        joints__right_joint__lower=1,
        safety__hold_recover=".inf",
    )
    sentences = refused(graph, capfd)
    expected = [
        "parameter decimation: expected an integer in 1..100, got 0",
        "parameter backend: expected one of auto, onnxruntime, tensorrt, remote, got 'tensorflow'",
        "parameter raet: expected a parameter of this node, got an unknown name; "
        "did you mean 'rate'?",
        "parameter inputs.joints.max_age: expected a float in 0.001..60 (s), got -1",
        "parameter inputs.joints.on_stael: expected a parameter of this node, got an unknown name; "
        "did you mean 'inputs.joints.on_stale'?",
        "parameter inputs.imu.max_age: expected a parameter of this node, got an unknown name; "
        "did you mean 'inputs.joints.max_age'?",
        "parameter joints.left_joint.sign: expected 1.0 or -1.0, got 0.5",
        "parameter joints.left_joint.lower: expected at most upper (1), got 2",
        "parameter joints.right_joint.lower: expected a float (rad/s; m/s if prismatic), got the "
        "integer 1 (write 1.0)",
        "parameter lockstep: expected use_sim_time to be true as well, got false",
        f"{folder / 'toy.onnx'}: expected an ONNX model, got a Git LFS pointer to a file of 12345 "
        "bytes; run `git lfs pull` in the repository that it is from",
    ]
    for sentence in expected:
        assert sentence in sentences, sentences
    assert any(s.startswith("parameter safety.hold_recover: expected") for s in sentences)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (0.0, "parameter rate: expected a float in 1..1000 (Hz), got 0"),
        (1e9, "parameter rate: expected a float in 1..1000 (Hz), got 1e+09"),
        ("fast", "parameter rate: expected a float in 1..1000 (Hz), got 'fast'"),
        (50, "parameter rate: expected a float in 1..1000 (Hz), got the integer 50 (write 50.0)"),
        (40.0, "parameter rate: expected 50 Hz, as trained (decimation / control_dt), got 40 Hz"),
    ],
)
def test_a_bad_rate_is_mended_by_a_set(
    graphs: GraphMaker, capfd: pytest.CaptureFixture[str], value: Any, sentence: str
) -> None:
    graph = graphs(policy={}, rate=value)
    (said,) = refused(graph, capfd)
    assert said.startswith(sentence)
    assert graph.peer.set(rate=2e9) != []
    assert graph.peer.set(rate=50.0) == []
    graph.activate()


@pytest.mark.parametrize("dt", [1e-9, 1e9])
def test_an_absurd_control_dt_is_refused(
    graphs: GraphMaker, capfd: pytest.CaptureFixture[str], dt: float
) -> None:
    graph = graphs(policy={"control_dt": dt})
    (said,) = refused(graph, capfd)
    assert said.startswith("parameter rate: expected 1 to 1000 Hz, got ")


def test_a_rows_bad_value_of_the_policys_own_is_mended_by_a_set(
    graphs: GraphMaker, capfd: pytest.CaptureFixture[str]
) -> None:
    graph = graphs(policy={}, inputs__joints__max_age="long")
    (said,) = refused(graph, capfd)
    expected = "parameter inputs.joints.max_age: expected a float in 0.001..60 (s), got 'long'"
    assert said == expected
    assert refused(graph, capfd) == [expected]  # a second try gives the same sentence
    assert graph.peer.set(inputs__joints__max_age=0.2) == []
    graph.activate()
    assert graph.node.get_parameter("inputs.joints.max_age").value == 0.2


def test_no_policy_and_a_wrong_path(
    graphs: GraphMaker, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    graph = graphs()
    assert graph.peer.set(policy="") == []
    expected = "parameter policy: expected the path of a policy.yaml or of its folder, got nothing"
    assert refused(graph, capfd) == [expected]
    assert graph.peer.set(policy=str(tmp_path / "nowhere")) == []
    (said,) = refused(graph, capfd)
    assert str(tmp_path / "nowhere") in said
    write_policy(tmp_path / "other")
    assert graph.peer.set(policy=str(tmp_path / "other" / "policy.yaml")) == []
    graph.activate()


def test_the_receivers_order_must_name_the_commanded_joints(
    graphs: GraphMaker, capfd: pytest.CaptureFixture[str]
) -> None:
    graph = graphs(policy={}, command__joint_names=["left_joint", "right_joind"])
    (said,) = refused(graph, capfd)
    assert said == (
        "parameter command.joint_names: expected commanded joints (left_joint, right_joint), "
        "got 'right_joind'; did you mean 'right_joint'?"
    )
    assert not topics(graph)
    assert graph.peer.set(command__joint_names=["left_joint"]) == []
    (said,) = refused(graph, capfd)
    assert "got none of right_joint" in said
    assert graph.peer.set(command__joint_names=list(reversed(JOINTS))) == []
    graph.activate()


def test_a_type_that_does_not_fit_names_the_parameter_it_came_from(
    graphs: GraphMaker, capfd: pytest.CaptureFixture[str]
) -> None:
    graph = graphs(policy={}, inputs__joints__type="sensor_msgs/msg/Imu")
    (said,) = refused(graph, capfd)
    assert said.endswith(
        "observation[0].terms[0].input: expected an input of type sensor_msgs/msg/JointState, got "
        "sensor_msgs/msg/Imu; correct parameter inputs.joints.type (the spec says "
        "sensor_msgs/msg/JointState)"
    )


def test_a_strict_stamp_of_a_message_without_a_header(
    graphs: GraphMaker, capfd: pytest.CaptureFixture[str]
) -> None:
    changes = {"command__type": "geometry_msgs/msg/Twist", "command__strict_stamp": True}
    graph = graphs(policy={}, **{f"inputs__{name}": value for name, value in changes.items()})
    (said,) = refused(graph, capfd)
    assert said == (
        "parameter inputs.command.strict_stamp: expected false, since a geometry_msgs/msg/Twist "
        "has no header, got true"
    )


def test_two_joints_of_one_name(graphs: GraphMaker, capfd: pytest.CaptureFixture[str]) -> None:
    graph = graphs(policy={}, joints__left_joint__name="right_joint")
    (said,) = refused(graph, capfd)
    assert said == ("parameters joints.*.name: expected different names, got 'right_joint' twice")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"type": "no_such_msgs/msg/Odd", "field": "data", "size": 4},
            "parameter inputs.odd.type: expected a message type that is installed, got "
            "no_such_msgs/msg/Odd; install the package no_such_msgs, or correct the type",
        ),
        (
            # A type that the core does not know: the node asks the message class.
            {"type": "sensor_msgs/msg/Temperature", "field": "temperatur", "size": 4},
            "inputs.odd: expected a field of sensor_msgs/msg/Temperature "
            "(header, temperature, variance), got 'temperatur'",
        ),
    ],
)
def test_an_unknown_message_type_and_an_unknown_field(
    graphs: GraphMaker, capfd: pytest.CaptureFixture[str], given: dict[str, Any], sentence: str
) -> None:
    changes = spec()
    changes["inputs"] = {"odd": {"type": given["type"], "topic": "odd"}}
    term = {"term": "field", "input": "odd", "field": given["field"], "size": given["size"]}
    changes["observation"][0]["terms"] = [term]
    graph = graphs(policy=changes)
    (said,) = refused(graph, capfd)
    assert said.startswith(sentence)
    assert not topics(graph)


def test_an_unknown_key_under_a_wildcard_only_warns(
    tmp_path: Path, graphs: GraphMaker, capfd: pytest.CaptureFixture[str]
) -> None:
    everybody = write_parameters(tmp_path / "all.yaml", "/**", raet=5.0, other_nodes_key="x")
    graph = graphs(policy={}, arguments=("--params-file", str(everybody)))
    graph.activate()
    logged = capfd.readouterr().err
    assert "[WARN]" in logged
    assert "parameter raet: expected a parameter of this node" in logged
    assert "given under /**, so it is only ignored" in logged


def test_sections_of_other_nodes_and_namespaces(tmp_path: Path, graphs: GraphMaker) -> None:
    """The runner accepts all sections that rcl gives to a node in a namespace."""
    file = tmp_path / "more.yaml"
    file.write_text(
        "other_node: {ros__parameters: {anything: 1}}\n"
        "/ns/policy_runner: {ros__parameters: {safety: {hold_recover: 0.75}}}\n"
        "/elsewhere/policy_runner: {ros__parameters: {safety: {max_tilt: 0.5}}}\n",
        encoding="utf-8",
    )
    graph = graphs(policy={}, namespace="/ns", arguments=("--params-file", str(file)))
    graph.activate()
    assert graph.node.get_parameter("safety.hold_recover").value == 0.75
    assert graph.node.get_parameter("safety.max_tilt").value == 0.0


def test_another_policy_brings_its_own_rows_and_takes_the_old_ones_away(
    graphs: GraphMaker, tmp_path: Path
) -> None:
    other = spec(joint_names=["hip", "knee"])
    other["action"][0]["groups"][0]["joints"] = ["hip", "knee"]
    write_policy(tmp_path / "other", **other)
    graph = graphs(policy={})
    assert graph.peer.change("configure")
    assert graph.node.has_parameter("joints.left_joint.sign")
    assert graph.peer.change("cleanup")
    assert graph.peer.set(policy=str(tmp_path / "other")) == []
    assert graph.peer.change("configure")
    assert not graph.node.has_parameter("joints.left_joint.sign")
    assert graph.node.has_parameter("joints.hip.sign")


def test_the_process_lives_and_is_mended(tmp_path: Path, spawn: Any) -> None:
    """The same in a process of its own, with service calls."""
    import rclpy
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter

    folder = tmp_path / "policy"
    write_policy(folder)
    model = (folder / "toy.onnx").read_bytes()
    (folder / "toy.onnx").write_bytes(model[: len(model) // 2])
    file = write_parameters(
        tmp_path / "parameters.yaml",
        policy=str(folder),
        autostart=True,
        rate=1e9,
        decimation="two",
        diagnostics__period=-1.0,
        realtime__priority="high",
        realtime__cpu_affinity=["all"],
        realtime__lock_memory=3,
    )
    child = spawn(
        ["python", "-m", "policy_runner.ros.runner.main"]
        + ["--ros-args", "--params-file", str(file)]
    )
    context = rclpy.Context()
    rclpy.init(context=context)
    peer = Peer(context)
    peer.settling_s = 0.5
    try:
        wait_until(lambda: "could not configure" in child.stderr, 15.0)
        for word in ("rate", "decimation", "diagnostics.period", "realtime.priority"):
            assert f"parameter {word}: expected" in child.stderr
        assert "toy.onnx: expected an ONNX model" in child.stderr
        assert peer.state() == "unconfigured"
        fixes = {"rate": 50.0, "decimation": 1, "diagnostics__period": 1.0, "realtime__priority": 0}
        assert peer.set(**fixes, realtime__lock_memory=False) == []
        # A row that is read at the start accepts only the default that replaced the wrong value.
        (reason,) = peer.set(realtime__cpu_affinity=[0, 1])
        assert "read at the start of the process" in reason
        none = Parameter("realtime.cpu_affinity", Parameter.Type.INTEGER_ARRAY, [])
        request = SetParameters.Request(parameters=[none.to_parameter_msg()])
        assert peer.call(SetParameters, "set_parameters", request).results[0].successful
        (folder / "toy.onnx").write_bytes(model)
        assert peer.change("configure"), child.stderr
        assert peer.change("activate"), child.stderr
        assert child.poll() is None
        begin = time.monotonic()
        assert child.stop() == 0
        assert time.monotonic() - begin < 2.0
    finally:
        peer.close()
        context.try_shutdown()
