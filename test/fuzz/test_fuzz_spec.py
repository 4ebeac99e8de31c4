"""Mutated specs, statistics, motions and serialized messages are read, or refused."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from core_rig import FakeClock, FakeModel, settings_for, spec_content, term
from fuzzing import fuzz, json_bytes, mutated_bytes, mutated_tree

from policy_runner.core.errors import Refusal
from policy_runner.core.files.arrays import read_statistics
from policy_runner.core.inputs.cdr import Unreadable, read_layout
from policy_runner.core.observation.terms.motions.table import read_motion
from policy_runner.core.pipeline.build import build_pipeline
from policy_runner.core.spec import Motion, read_spec
from policy_runner.formats.motions.chains import read_chains, with_bodies
from policy_runner.formats.motions.motion_sources import read_headerless_csv
from policy_runner.formats.motions.raw_motion import RawMotion
from policy_runner.formats.motions.resample import resampled

ROOT = Path(__file__).resolve().parents[2]
SPECS = [
    *sorted((ROOT / "docs" / "reference" / "examples").glob("*.yaml")),
    *sorted((ROOT / "test" / "formats" / "specs").glob("*.yaml")),
    ROOT / "models" / "balancer" / "policy.yaml",
]
TEXTS = [path.read_bytes() for path in SPECS]
TREES = [yaml.safe_load(text) for text in TEXTS]
BOMBS = [
    b"&a [*a]\n",
    b"a: &a {<<: *a}\n",
    b"? [a]\n: 1\n",
    b"a: !!int ''\nb: !!float ''\nc: !!timestamp x\n",
    b"a: !!python/object/apply:os.system [true]\n",
    b"control_dt: " + b"1:" * 300 + b"1\n",
    b"[" * 3000,
]


def test_spec_text(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        read_spec(path)

    def make(rng: random.Random) -> bytes:
        return mutated_bytes(rng, rng.choice(TEXTS + BOMBS), TEXTS + BOMBS)

    assert fuzz("spec text", tmp_path, make, read, Refusal)["refused"]


def test_spec_values(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"

    def read(tree: Any) -> None:
        path.write_bytes(yaml.dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"))
        read_spec(path)

    def make(rng: random.Random) -> Any:
        return mutated_tree(rng, rng.choice(TREES))

    assert fuzz("spec values", tmp_path, make, read, Refusal)["refused"]


def _everything() -> dict[str, Any]:
    """Return a spec with as many keys as are allowed together."""
    imu = {"type": "sensor_msgs/msg/Imu", "topic": "imu"}
    joints = {"type": "sensor_msgs/msg/JointState", "topic": "joints"}
    twist = {"type": "geometry_msgs/msg/Twist", "topic": "cmd"}
    camera = {"type": "sensor_msgs/msg/Image", "topic": "camera"}
    terms = [
        term("velocity_command", input="cmd", axes=["linear.x"], range=[[-1.0, 1.0]]),
        term("projected_gravity", input="imu"),
        term("joint_position", input="joints", relative_to="default_joint_pos", wrap=True),
        term("field", input="imu", field="angular_velocity", scale=0.25, clip=[-5.0, 5.0]),
        term("last_action"),
        term("phase_clock", period=0.8),
    ]
    whole = term(
        "image", input="camera", color="gray", size=[2, 3], layout="hwc", scale=0.1, mean=0.5
    )
    return spec_content(
        default_joint_pos={"a": 0.1, "b|c": 0.2},
        joint_names=["a", "b"],
        inputs={"imu": imu, "joints": joints, "cmd": twist, "camera": camera},
        observation=[
            {
                "tensor": "obs",
                "terms": terms,
                "history": {
                    "stack": "term", "order": "oldest_first", "length": 2, "fill": "repeat"
                },
                "normalization": {"preset": "rsl_rl", "statistics": "s.npz", "on": "stacked"},
            },
            {"tensor": "picture", "whole": whole},
            {"tensor": "fixed", "constant": 1.0},
        ],
        state=[{"input": "h_in", "output": "h_out", "initial": {"file": "s.npz", "key": "h"}}],
        action=[
            {
                "tensor": "act",
                "groups": [
                    {
                        "kind": "position", "joints": ["a", "b"], "scale": {"a": 0.5, "b": 0.25},
                        "relative_to": "default_joint_pos", "clip": [-1.0, 1.0],
                    }
                ],
            }
        ],
    )  # fmt: skip


def _rules() -> dict[str, Any]:
    """Return a spec of terms and actions that depend on other signals."""
    given = _everything()
    for name, kind in (("joy", "sensor_msgs/msg/Joy"), ("go", "std_msgs/msg/Bool"),
                       ("odom", "nav_msgs/msg/Odometry")):  # fmt: skip
        given["inputs"][name] = {"type": kind, "topic": name}
    del given["inputs"]["camera"], given["state"], given["observation"][1:]
    pose = {"input": "odom", "field": "pose.pose", "offset": {"position": [0, 0, 1]}}
    chain = [{"joint": "a", "axis": [0, 0, 1], "origin": {"rpy": [0, 1, 0]}}]
    imu = {"input": "imu", "field": "orientation", "chain": chain, "joints_input": "joints"}
    small = {"groups": [["linear.x", "linear.y"], ["angular.z"]], "below": [0.1, 0.2]}
    points = {"input": "cmd", "axes": ["linear.x"], "points": [[0, 1], [1, 2]], "clip": [0, 3]}
    stick = [{"name": "x", "axis": 1, "dead_zone": 0.1}, {"name": "w", "toggle": 0}]
    given["observation"][0]["terms"] = [
        term("velocity_command", input="cmd", zero=[{"axes": ["linear.x"], "when": [small]}]),
        term("integrated_command", input="cmd", axes=["linear.z"], start=0.5, bounds=[0, 1]),
        term("joy_command", input="joy", elements=stick, enable=2),
        term("relative_rotation", a=imu, b=pose, product="b_inverse_a", parts=["yaw", "two_rows"]),
        term("position_difference", a=pose, b=pose, axes="b_yaw", parts=["x"]),
        term("phase_clock", frequency=points, restart={"input": "go"}, parts=["sin"],
             hold={"input": "cmd", **small, "clock": "restart", "at": 0.5}),
        term("joint_position", input="joints"),
    ]  # fmt: skip
    given["observation"][0]["history"] |= {
        "stack": "element", "length": {"joint_position": {"a": 3, "b": 2}}, "fill": "newest"
    }  # fmt: skip
    given["observation"][0]["normalization"] = "none"
    given |= {"stiffness": 20.0, "damping": 0.5, "effort_limit": 9.0}
    given["action"][0]["groups"][0] |= {
        "limit_torque": {"every": "tick"}, "round": {"step": 0.1, "of": "target"}
    }  # fmt: skip
    return given


def test_rules_bound_to_a_model(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    base = _rules()

    def read(tree: Any) -> None:
        path.write_text(yaml.dump(tree, allow_unicode=True), encoding="utf-8", errors="replace")
        spec_file = read_spec(path)
        model = FakeModel({"obs": (1, 20)}, {"act": (1, 2)})
        pipeline = build_pipeline(spec_file, model, settings_for(spec_file), {}, FakeClock())
        pipeline.activate()
        pipeline.policy.observe()

    read(base)
    fuzz("rules", tmp_path, lambda rng: mutated_tree(rng, base), read, Refusal)


def _model() -> FakeModel:
    shapes = {"obs": (1, 26), "picture": (1, 2, 3, 1), "fixed": (1,), "h_in": (1, 4)}
    return FakeModel(shapes, {"act": (1, 2), "h_out": (1, 4)})


def test_specs_bound_to_a_model(tmp_path: Path) -> None:
    ones = {"mean": np.zeros(26), "std": np.ones(26), "h": np.zeros(4)}
    np.savez(tmp_path / "s.npz", **ones)
    path = tmp_path / "policy.yaml"
    content = _everything()
    content["default_joint_pos"] = {"a": 0.1, "b": 0.2}

    def read(tree: Any) -> None:
        path.write_bytes(yaml.dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"))
        spec_file = read_spec(path)
        settings = settings_for(spec_file)
        pipeline = build_pipeline(spec_file, _model(), settings, {}, FakeClock())
        pipeline.activate()
        for k in range(3):
            pipeline.step(k)

    read(content)
    found = fuzz("spec bound", tmp_path, lambda rng: mutated_tree(rng, content), read, Refusal)
    assert found["refused"]
    assert found["read"]


ARRAYS = {"mean": np.arange(3.0), "std": np.ones(3), "names": np.array(["hip", "knee"])}


def _npz(compressed: bool) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **ARRAYS)
    return file.getvalue()


def _repacked(rng: random.Random) -> bytes:
    """Return a valid archive of arrays whose headers or bodies are damaged."""
    file = io.BytesIO()
    how = rng.choice(
        (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    )
    with zipfile.ZipFile(file, "w", how) as archive:
        for name in ("mean", "std"):
            kind = rng.choice(("f4", "f8", "?", "c16", "S3", "U2", "M8[s]", "V0"))
            one = io.BytesIO()
            np.save(one, np.zeros(3, dtype=kind))
            content = one.getvalue()
            heads = (b"(3,)", b"'<f8'", b"False")
            odd = (b"(9999999999,)", b"(-1,)", b"'|O'", b"'<f99'", b"()", b"(3,3)", b"[[[", b"__")
            if rng.random() < 0.8:
                content = content.replace(rng.choice(heads), rng.choice(odd))
            if rng.random() < 0.3:
                content = mutated_bytes(rng, content, [content])
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def _safetensors() -> bytes:
    header = {
        "mean": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
        "b": {"dtype": "BF16", "shape": [2, 1], "data_offsets": [12, 16]},
        "__metadata__": {"a": "b"},
    }
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(range(16))


STORED: dict[str, list[bytes]] = {
    ".npz": [_npz(False), _npz(True), zipfile.ZipFile.__name__.encode()],
    ".safetensors": [_safetensors()],
    ".json": [json_bytes({"a": {"mean": [1, 2.5], "std": [[1], [2]]}}), b'{"mean": [1, 2]}'],
    ".pkl": [b"cos\nsystem\n(S'true'\ntR."],
}


@pytest.mark.parametrize("suffix", list(STORED))
def test_statistics(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"statistics{suffix}"
    corpus = STORED[suffix]

    def read(given: tuple[bytes, list[str]]) -> None:
        path.write_bytes(given[0])
        for array in read_statistics(path, None, given[1]).values():
            assert array.dtype == np.float64
            assert array.ndim == 1

    def make(rng: random.Random) -> tuple[bytes, list[str]]:
        group = rng.choice(([], [], ["a"], ["a", "mean"]))
        if suffix == ".npz" and rng.random() < 0.5:
            return _repacked(rng), group
        if suffix == ".json" and rng.random() < 0.7:
            return json_bytes(mutated_tree(rng, json.loads(rng.choice(corpus)))), group
        if suffix == ".safetensors" and rng.random() < 0.7:
            size = int.from_bytes(corpus[0][:8], "little")
            header = json_bytes(mutated_tree(rng, json.loads(corpus[0][8 : 8 + size])))
            return len(header).to_bytes(8, "little") + header + corpus[0][8 + size :], group
        return mutated_bytes(rng, rng.choice(corpus), corpus), group

    assert fuzz(f"statistics{suffix}", tmp_path, make, read, Refusal)["refused"]


CSV = b"hip,hip/velocity,base/qx,base/qy,base/qz,base/qw\n0,1,0,0,0,1\n0.1,1,0,0,0,1\n"


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_motions(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"motion{suffix}"
    motion = Motion(file=path.name, end="hold", dt=0.02)
    file = io.BytesIO()
    rows = {"joint_pos": np.zeros((4, 2)), "joint_names": np.array(["hip", "knee"])}
    np.savez(file, fps=np.array([50.0]), body_quat_w=np.ones((4, 1, 4)), **rows)
    corpus = [CSV] if suffix == ".csv" else [file.getvalue()]

    def read(content: bytes) -> None:
        path.write_bytes(content)
        read_motion(path, motion, 0.02)

    read(corpus[0])
    name = f"motion{suffix}"
    fuzz(name, tmp_path, lambda rng: mutated_bytes(rng, corpus[0], corpus), read, Refusal)


CHAINS = b"torso:\n- {joint: hip, axis: z, origin: {position: [0, 0, 1], rpy: [0, 1, 0]}}\n"


@pytest.mark.parametrize("which", ["headerless", "chains"])
def test_sources_of_motions(tmp_path: Path, which: str) -> None:
    path = tmp_path / f"{which}.txt"
    whole = CHAINS if which == "chains" else b"0,0,1,0,0,0,1,0.5\n0,0,1.5,0,0,0.1,0.99,0.25\n" * 3

    def read(content: bytes) -> None:
        path.write_bytes(content)
        if which == "chains":
            motion = RawMotion(
                0.1, ["hip"], np.zeros((2, 1)), None, {}, {"base": np.eye(4)[[3, 3]]}
            )
            with_bodies(motion, "base", read_chains(path), str(path))
        else:
            resampled(read_headerless_csv(path, ["hip"], 0.1, "xyzw", "base"), 0.04, "central")

    read(whole)
    fuzz(which, tmp_path, lambda rng: mutated_bytes(rng, whole, [whole]), read, Refusal)


TYPES: dict[str, dict[str, str]] = {
    "x/A": {"header": "std_msgs/Header", "name": "sequence<string>", "v": "sequence<double>"}
    | {"fixed": "double[3]", "many": "sequence<x/B>", "last": "uint8", "w": "sequence<wstring>"},
    "x/B": {"flag": "boolean", "text": "string<4>", "inner": "sequence<x/C, 3>"},
    "x/C": {"a": "int16", "b": "uint64", "c": "sequence<float>"},
    "std_msgs/Header": {"stamp": "builtin_interfaces/Time", "frame_id": "string"},
    "builtin_interfaces/Time": {"sec": "int32", "nanosec": "uint32"},
}


def _message() -> bytes:
    def text(value: str) -> bytes:
        data = value.encode() + b"\0"
        return struct.pack("<I", len(data)) + data + b"\0" * (-len(data) % 4)

    head = b"\x00\x01\x00\x00" + struct.pack("<iI", 5, 6) + text("odo")
    names = struct.pack("<I", 2) + text("hip") + text("kne")
    values = struct.pack("<I", 2) + struct.pack("<5d", 1, 2, 3, 4, 5)
    return head + names + values + struct.pack("<I", 1) + bytes(64)


def test_serialized_messages(tmp_path: Path) -> None:
    whole = _message()

    def read(raw: bytes) -> None:
        layout = read_layout(raw, "x/A", TYPES.__getitem__)
        assert layout.fits(raw)
        for place in layout.places.values():  # numpy raises if a place is outside
            np.frombuffer(raw, place.dtype, place.count, place.offset)

    read(whole)
    found = fuzz("cdr", tmp_path, lambda rng: mutated_bytes(rng, whole, [whole]), read, Unreadable)
    assert found["refused"]
    assert found["read"]
