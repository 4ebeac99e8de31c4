"""Rules of docs/explanation/security.md for a policy's files: folder, size, sha256."""

from __future__ import annotations

import hashlib
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import FakeClock, FakeModel, refused, settings_for, spec_content, term, write_spec

from policy_runner.core.files import bounded as bounded_reading
from policy_runner.core.files import safe_yaml as plain_yaml
from policy_runner.core.files.arrays import read_statistics, read_tensor
from policy_runner.core.observation.terms.motions.table import read_motion
from policy_runner.core.pipeline.build import build_pipeline
from policy_runner.core.spec import Motion, read_spec
from policy_runner.core.spec.reader import unchecked_files


def _soon(function: Callable[..., Any], *arguments: Any) -> list[str]:
    begun = time.process_time()
    sentences = refused(function, *arguments)
    assert time.process_time() - begun < 3.0
    return sentences


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A policy's folder, with a file outside that the policy must not read."""
    (tmp_path / "outside.npz").write_bytes(b"secret")
    inside = tmp_path / "policy"
    inside.mkdir()
    write_spec(inside, spec_content())
    return inside


@pytest.mark.parametrize("name", ["../outside.npz", "/etc/passwd", "a/../../outside.npz", ".", ""])
def test_no_file_outside_the_folder(folder: Path, name: str) -> None:
    spec_file = read_spec(folder)
    if name in (".", ""):  # the folder itself, which is not a file
        assert refused(read_statistics, spec_file.next_to(name, "k"))
        return
    assert refused(spec_file.next_to, name, "some.key") == [
        f"{folder / 'policy.yaml'}: some.key: expected a file inside the spec's folder, got {name}"
    ]


def test_links_out_of_the_folder_are_refused_and_links_inside_are_not(folder: Path) -> None:
    spec_file = read_spec(folder)
    (folder / "s.npz").symlink_to(folder.parent / "outside.npz")
    (sentence,) = refused(spec_file.next_to, "s.npz", "k")
    assert sentence.endswith(f"got s.npz, a link to {folder.parent / 'outside.npz'}")
    (folder / "sub").symlink_to(folder.parent)
    assert refused(spec_file.next_to, "sub/outside.npz", "k")
    (folder / "real.npz").write_bytes(b"")
    (folder / "t.npz").symlink_to(folder / "real.npz")
    assert spec_file.next_to("t.npz", "k") == folder / "real.npz"
    (folder / "round").symlink_to(folder / "round")
    with pytest.raises(Exception, match=r"round|no such file"):
        read_statistics(spec_file.next_to("round", "k"))


def test_a_folder_of_links_is_as_good_as_the_folder(folder: Path, tmp_path: Path) -> None:
    # The links that `colcon build --symlink-install` makes.
    (folder / "s.npz").write_bytes(b"")
    installed = tmp_path / "installed"
    installed.mkdir()
    for name in ("policy.yaml", "s.npz"):
        (installed / name).symlink_to(folder / name)
    assert read_spec(installed).next_to("s.npz", "k") == folder / "s.npz"


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "s.npz")
    assert "no such file" in _soon(read_statistics, folder / "s.npz")[0]


YAML = {
    "aliases": (
        "a0: &a0 [x]\n"
        + "".join(f"a{k}: &a{k} [{','.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 9)),
        "200000 values",
    ),
    "merges": (
        "a0: &a0 {k0: 1}\n"
        + "".join(f"a{k}: &a{k} {{<<: [{','.join([f'*a{k - 1}'] * 10)}]}}\n" for k in range(1, 9)),
        "200000 values",
    ),
    "itself": ("name: &a [*a]\n", "an alias that contains itself (line 1)"),
    "depth": ("name: " + "[" * 80 + "]" * 80, "64 nested values"),
    "brackets": ("[" * 100_000, "recursion"),
    "number": ("control_dt: " + "1:" * 5000 + "1", "a number of 10001 characters"),
    "digits": ("control_dt: 0x" + "f" * 5000, "a number of 5002 characters"),
    "tag": ("name: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
    "keys": ("\n".join(f"k{k}: 1" for k in range(30_000)), "a known key"),
    "surrogate": ('name: "\\ud800"', "an invalid character"),
    "nul": ('name: "a\\0b"', "an invalid character"),
}


@pytest.mark.parametrize("name", list(YAML))
def test_yaml_that_does_not_end(tmp_path: Path, name: str) -> None:
    text, part = YAML[name]
    assert any(part in sentence for sentence in _soon(read_spec, write_spec(tmp_path, text)))


def test_files_above_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "name: x\n" + "#" * bounded_reading.MOST_SPEC
    assert refused(read_spec, write_spec(tmp_path, text)) == [
        f"{tmp_path / 'policy.yaml'}: expected YAML of at most 1 MiB, got more than 1 MiB"
    ]
    monkeypatch.setattr(plain_yaml, "MOST_VALUES", 10)
    assert "more than 10 values" in refused(read_spec, write_spec(tmp_path, spec_content()))[0]


def _archive(path: Path, content: bytes, how: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        archive.writestr("mean.npy", content)
    return path


def _npy(shape: str, body: bytes = b"") -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + body


def test_archives_that_unpack_to_more_than_they_should(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    assert "256 MiB unpacked" in _soon(read_statistics, _archive(path, bytes(300 << 20)))[0]
    assert "bytes for shape (99999999999,)" in _soon(
        read_statistics, _archive(path, _npy("(99999999999,)"))
    )[0]  # fmt: skip
    other = _archive(path, _npy("(1,)", bytes(8)), zipfile.ZIP_LZMA)
    assert "a compression that numpy does not write" in refused(read_statistics, other)[0]
    # An archive that states less than its content gives only the stated size.
    raw = bytearray(_archive(path, _npy("(1,)", bytes(8)) + bytes(100 << 20)).read_bytes())
    real, said = (128 + 8 + (100 << 20)).to_bytes(4, "little"), (136).to_bytes(4, "little")
    assert raw.count(real) == 2
    path.write_bytes(raw.replace(real, said))
    assert "Bad CRC-32" in _soon(read_statistics, path)[0]


def test_tensors_that_lie_over_each_other(tmp_path: Path) -> None:
    one = '{"dtype": "F32", "shape": [25000], "data_offsets": [0, 100000]}'
    header = ("{" + ", ".join(f'"t{k}": {one}' for k in range(2)) + "}").encode()
    path = tmp_path / "s.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(100000))
    assert "tensors that overlap" in refused(read_statistics, path)[0]
    path.write_bytes((1 << 60).to_bytes(8, "little") + b"{}")
    assert refused(read_statistics, path)


def test_numbers_only(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    for values in (np.array(["1", "2"]), np.array([1j]), np.array(["2020"], dtype="M8[Y]")):
        np.savez(path, mean=values)
        assert refused(read_statistics, path) == [
            f"{path}: mean: expected numbers, got {values.dtype}"
        ]
    (tmp_path / "s.json").write_text('{"mean": [' + "1" * 5000 + "]}")
    assert refused(read_statistics, tmp_path / "s.json")


def test_every_sha256_of_a_spec_is_checked(tmp_path: Path) -> None:
    wrong = "0" * 64
    path = tmp_path / "s.npz"
    np.savez(path, mean=np.zeros(2), joint_pos=np.zeros((3, 1)))
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    sentence = (
        f"{path}: sha256: expected {wrong}, got {right}; the file is not the one the spec names"
    )
    motion = Motion(file="s.npz", end="hold", dt=0.02, joint_names=["a"])
    for read in (
        lambda given: read_statistics(path, given),
        lambda given: read_tensor(path, "mean", given),
        lambda given: read_motion(path, motion.model_copy(update={"sha256": given}), 0.02),
    ):
        read(right)
        assert refused(read, wrong) == [sentence]


def test_the_sha256_of_a_stored_tensor_is_the_one_of_the_spec(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", x=np.ones(3))
    content = spec_content()
    stored = {"file": "s.npz", "key": "x", "sha256": "0" * 64}
    content["observation"].append({"tensor": "fixed", "constant": stored})
    spec_file = read_spec(write_spec(tmp_path, content))
    model = FakeModel({"obs": (1, 2), "fixed": (3,)}, {"act": (1, 2)})
    sentences = refused(build_pipeline, spec_file, model, settings_for(spec_file), {}, FakeClock())
    assert len(sentences) == 1
    assert "sha256: expected 000" in sentences[0]


@pytest.mark.parametrize("pattern", ["(a+)+", "(a|a)*b", "a?" * 9, "(?:x*)*", "a" * 300, "(" * 150])
def test_patterns_whose_search_may_not_end(tmp_path: Path, pattern: str) -> None:
    names = ["a" * 60, "b"]
    content = spec_content(joint_names=names, default_joint_pos={pattern: 1.0, "b": 0.0})
    content["observation"][0]["terms"] = [term("joint_velocity", input="joints")]
    content["action"][0]["groups"][0]["joints"] = names
    (sentence,) = _soon(read_spec, write_spec(tmp_path, content))
    assert "regular expression" in sentence


def test_patterns_that_people_write(tmp_path: Path) -> None:
    names = ["FL_hip", "FR_hip", "L_knee_joint"]
    values = {"(FL|FR)_hip": 1.0, r"L_.*_[a-z]+": 2.0}
    content = spec_content(joint_names=names, default_joint_pos=values)
    content["action"][0]["groups"][0]["joints"] = names
    assert read_spec(write_spec(tmp_path, content)).spec.default_joint_pos == values


def test_files_without_a_sha256_are_named(tmp_path: Path) -> None:
    content = spec_content(motions={"walk": {"file": "walk.npz", "end": "hold"}})
    tensor = content["observation"][0]
    tensor["normalization"] = {"preset": "rsl_rl", "statistics": "s.npz"}
    stored = {"file": "c.npz", "key": "x"}
    content["observation"].append({"tensor": "fixed", "constant": stored})
    spec = read_spec(write_spec(tmp_path, content)).spec
    assert unchecked_files(spec) == ["policy.onnx", "walk.npz", "s.npz", "c.npz"]
    known = {"sha256": "0" * 64}
    for one in (content["model"], content["motions"]["walk"], tensor["normalization"], stored):
        one.update(known)
    assert unchecked_files(read_spec(write_spec(tmp_path, content)).spec) == []


@pytest.mark.parametrize("length", [10_001, 2**31 - 1, 2**62])
def test_a_history_that_no_memory_holds(tmp_path: Path, length: int) -> None:
    for history in ({"length": length}, {"lags": [0, length]}, {"length": {"a": length}}):
        content = spec_content()
        tensor = content["observation"][0]
        tensor["history"] = {
            "stack": "term", "order": "oldest_first", "fill": "repeat", **history
        }  # fmt: skip
        assert any("10000" in one for one in _soon(read_spec, write_spec(tmp_path, content)))


@pytest.mark.parametrize("keys", [{"field": "data[0:4000000000]"}, {"field": "x", "size": 2**40}])
def test_a_field_that_no_memory_holds(tmp_path: Path, keys: dict[str, Any]) -> None:
    kind = "std_msgs/msg/Float32MultiArray" if "size" not in keys else "own_msgs/msg/Own"
    content = spec_content(inputs={"in": {"type": kind, "topic": "t"}})
    content["observation"][0]["terms"] = [term("field", input="in", **keys)]
    spec_file = read_spec(write_spec(tmp_path, content))
    model = FakeModel({"obs": (1, 2)}, {"act": (1, 2)})
    arguments = (spec_file, model, settings_for(spec_file), {}, FakeClock())
    assert any("at most 1000000" in one for one in _soon(build_pipeline, *arguments))
