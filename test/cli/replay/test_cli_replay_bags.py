"""`replay` on rosbag2 recordings: some written by the test with rosbags, some recorded."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_rig import PERIOD_S, expected, load, save, signals, write_policy

from policy_runner.cli.main import main

pytestmark = [
    pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the model"),
    pytest.mark.skipif(find_spec("rosbags") is None, reason="rosbags is not installed"),
]
T0_NS = 1_700_000_000_123_456_789
BAGS = Path(__file__).resolve().parents[4] / "shared" / "data" / "bags"
POLICIES = BAGS.parent / "policies"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """The small policy's folder."""
    return write_policy(tmp_path / "policy")


def replay(policy: Path, given: Path, *options: str) -> int:
    return main(["replay", str(policy), str(given), *options])


def write_bag(
    path: Path, given: dict[str, np.ndarray], storage: str = "mcap", stamped: bool = False,
    imu: str = "/imu/data",
) -> Path:  # fmt: skip
    """Write the signals as a recording, with a JointState of other joints between them.

    The times of reception are `t`.
    """
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    types = store.types
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3

    def header(t_ns: int) -> Any:
        stamp = types["builtin_interfaces/msg/Time"](sec=t_ns // 10**9, nanosec=t_ns % 10**9)
        return types["std_msgs/msg/Header"](stamp=stamp, frame_id="")

    def xyz(values: Any) -> Any:
        x, y, z = (float(v) for v in values)
        return types["geometry_msgs/msg/Vector3"](x=x, y=y, z=z)

    with Writer(path, version=9, storage_plugin=plugin) as writer:
        kind = "geometry_msgs/msg/TwistStamped" if stamped else "geometry_msgs/msg/Twist"
        topics = {"/joint_states": "sensor_msgs/msg/JointState", imu: "sensor_msgs/msg/Imu",
                  "/cmd_vel": kind}  # fmt: skip
        connections = {
            topic: writer.add_connection(topic, name, typestore=store)
            for topic, name in topics.items()
        }

        def put(topic: str, t_ns: int, message: Any) -> None:
            raw = store.serialize_cdr(message, topics[topic])
            writer.write(connections[topic], t_ns, raw)

        names = [str(name) for name in given["joint_state_names"]]
        nothing = np.zeros(0)
        for k in range(len(given["command"])):
            t = T0_NS + k * round(PERIOD_S * 1e9)
            joints = types["sensor_msgs/msg/JointState"]
            put("/joint_states", t, joints(
                header=header(t), name=names, position=given["joint_position"][k],
                velocity=nothing, effort=nothing,
            ))  # fmt: skip
            put("/joint_states", t, joints(
                header=header(t), name=["other"], position=np.ones(1), velocity=nothing,
                effort=nothing,
            ))  # fmt: skip
            x, y, z, w = (float(v) for v in given["imu_orientation_xyzw"][k])
            nine = np.zeros(9)
            put(imu, t, types["sensor_msgs/msg/Imu"](
                header=header(t), orientation_covariance=nine,
                orientation=types["geometry_msgs/msg/Quaternion"](x=x, y=y, z=z, w=w),
                angular_velocity=xyz(given["imu_angular_velocity"][k]),
                angular_velocity_covariance=nine, linear_acceleration=xyz((0, 0, 9.8)),
                linear_acceleration_covariance=nine,
            ))  # fmt: skip
            vx, vy, wz = given["command"][k]
            twist = types["geometry_msgs/msg/Twist"](
                linear=xyz((vx, vy, 0.0)), angular=xyz((0.0, 0.0, wz))
            )
            if stamped:
                twist = types[kind](header=header(t), twist=twist)
            put("/cmd_vel", t, twist)
    return path


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("stamped", [False, True])
def test_a_recording_gives_what_the_signals_give(
    storage: str, stamped: bool, policy: Path, tmp_path: Path, capsys: Any
) -> None:
    given = signals()
    bag = write_bag(tmp_path / "bag", given, storage, stamped)
    reference = save(tmp_path / "wanted.npz", expected(given))
    assert replay(policy, bag, "--reference", str(reference)) == 0
    assert "20 inferences: RUN 20" in capsys.readouterr().out
    (file,) = (path for path in bag.iterdir() if path.suffix in (".mcap", ".db3"))
    assert replay(policy, file, "--reference", str(reference)) == 0


def test_a_topic_is_found_where_it_was_recorded(policy: Path, tmp_path: Path, capsys: Any) -> None:
    given = signals()
    bag = write_bag(tmp_path / "bag", given, imu="/robot/imu")
    assert replay(policy, bag) == 1
    said = capsys.readouterr().err
    assert "inputs.imu: expected /imu/data (sensor_msgs/msg/Imu) in the recording" in said
    assert "topics of its type: /robot/imu; say --topic imu=TOPIC" in said
    reference = save(tmp_path / "wanted.npz", expected(given))
    options = ["--reference", str(reference), "--topic", "imu=/robot/imu"]
    assert replay(policy, bag, *options) == 0
    assert replay(policy, bag, "--topic", "imu=joint_states") == 1
    assert "expected sensor_msgs/msg/Imu on /joint_states" in capsys.readouterr().err
    assert replay(policy, bag, "--topic", "imo=robot/imu") == 1
    assert "--topic imo: expected an input (imu, joints, cmd)" in capsys.readouterr().err
    assert replay(policy, bag, "--topic", "imu") == 1
    assert "--topic: expected INPUT=TOPIC, got imu" in capsys.readouterr().err


def test_what_is_no_recording_is_refused(policy: Path, tmp_path: Path, capsys: Any) -> None:
    broken = tmp_path / "broken.mcap"
    broken.write_bytes(b"nothing")
    assert replay(policy, broken) == 1
    assert "a rosbag2 recording" in capsys.readouterr().err
    folder = tmp_path / "bag"
    folder.mkdir()
    (folder / "metadata.yaml").write_text("rosbag2_bagfile_information: {}\n")
    assert replay(policy, folder) == 1
    assert "a rosbag2 recording" in capsys.readouterr().err


def test_an_imu_without_orientation_is_counted_and_never_inferred_from(
    policy: Path, tmp_path: Path, capsys: Any
) -> None:
    given = signals(5)
    given["imu_orientation_xyzw"] = np.zeros((5, 4))
    out = tmp_path / "out.npz"
    assert replay(policy, write_bag(tmp_path / "bag", given), "-o", str(out)) == 0
    assert not load(out)["inferred"].any()
    assert "a quaternion" in capsys.readouterr().out


@pytest.mark.skipif(not POLICIES.is_dir(), reason=f"no recordings in {BAGS}")
def test_a_humanoid_s_recording_runs_through_its_policy(tmp_path: Path, capsys: Any) -> None:
    """29 s of a retargeted motion: every joint by name, Twist in place of TwistStamped."""
    from published_policies import filled

    filled("g1-velocity-hist5", tmp_path)
    out = tmp_path / "out.npz"
    given = BAGS / "derived-bag-g1-mcap"
    assert replay(tmp_path, given, "--duration", "6", "-o", str(out)) == 0
    found = load(out)
    assert len(found["t"]) == 301
    assert found["inferred"].sum() > 290
    assert np.isfinite(found["target"][found["inferred"]]).all()
    newest = found["observation/obs"][found["inferred"]][:, 15 + 12 : 15 + 15]
    assert np.abs(np.linalg.norm(newest, axis=1) - 1).max() < 1e-6  # gravity in the last frame


def test_a_type_that_nobody_defines_is_refused(tmp_path: Path, capsys: Any) -> None:
    """An sqlite recording from before Iron contains no message definitions."""
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    store.register(get_types_from_msg("float64 speed", "odd_msgs/msg/Speed"))
    bag = tmp_path / "bag"
    with Writer(bag, version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connection = writer.add_connection("/speed", "odd_msgs/msg/Speed", typestore=store)
        message = store.types["odd_msgs/msg/Speed"](speed=1.5)
        writer.write(connection, T0_NS, store.serialize_cdr(message, "odd_msgs/msg/Speed"))
    term = {"term": "field", "input": "speed", "field": "speed", "size": 1}
    padding = {"term": "constant", "value": [0.0] * 12}
    policy = write_policy(
        tmp_path / "policy",
        inputs={"speed": {"type": "odd_msgs/msg/Speed", "topic": "speed"}},
        observation=[{"tensor": "obs", "terms": [term, padding], "normalization": "none"}],
    )
    database = next(bag.glob("*.db3"))
    import sqlite3

    with sqlite3.connect(database) as connected:
        tables = {row[0] for row in connected.execute("SELECT name FROM sqlite_master")}
        if "message_definitions" in tables:
            connected.execute("DELETE FROM message_definitions")
    connected.close()
    assert replay(policy, bag) == 1
    assert "a definition of odd_msgs/msg/Speed in the recording" in capsys.readouterr().err


@pytest.mark.skipif(not POLICIES.is_dir(), reason=f"no recordings in {BAGS}")
def test_a_boat_s_recording_lacks_what_a_legged_policy_reads(tmp_path: Path, capsys: Any) -> None:
    from published_policies import filled

    filled("lite3-ppo", tmp_path)
    assert replay(tmp_path, BAGS / "bag-stinger-imu") == 1
    said = capsys.readouterr().err
    assert "inputs.joint_states: expected /joint_states" in said
    assert "inputs.cmd_vel" in said
    assert "inputs.imu" not in said
