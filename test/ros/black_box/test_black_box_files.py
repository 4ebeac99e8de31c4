"""The files of a black box: complete or absent, bounded, and never at the cost of older ones."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from children import wait_until
from runner_rig import write_policy

from policy_runner.core.black_box.records import NotKept, Received, Tick
from policy_runner.core.black_box.state import slot_states
from policy_runner.robot.load import load_policy
from policy_runner.ros.black_box.content import (
    is_black_box,
    read_facts,
    read_records,
)

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)


class FakeNode:
    """What the black box uses of a node."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.serve: Any = None

    def get_logger(self) -> Any:
        return SimpleNamespace(info=self.said.append, error=self.said.append)

    def get_fully_qualified_name(self) -> str:
        return "/robot/policy_runner"

    def create_service(self, kind: Any, name: str, serve: Any) -> None:
        assert name == "~/dump"
        self.serve = serve

    def dump(self) -> tuple[bool, str]:
        told = len(self.said)
        response = self.serve(None, SimpleNamespace(success=None, message=""))
        if response.message.startswith("writing to "):  # on a busy computer
            wait_until(lambda: self.said[told:])
            written = re.match(r"black box written: (\S+) ", self.said[told])
            return written is not None, written[1] if written else self.said[told]
        return response.success, response.message


class Box:
    """A black box with a policy that has run."""

    def __init__(self, policy: Path, folder: Path, disk: int = 512) -> None:
        values = {
            "black_box.seconds": 10.0,
            "black_box.memory": 8,
            "black_box.folder": str(folder),
            "black_box.disk": disk,
        }
        self.node, self.folder = FakeNode(), folder
        self.crash: BaseException | None = None
        from policy_runner.ros.black_box.keeper import BlackBox

        self.box = BlackBox(self.node, values.__getitem__, lambda: self.crash)  # type: ignore[arg-type]
        self.loaded = load_policy(policy)
        self.loaded.pipeline.activate()
        self.recorder = self.box.recorder_for(self.loaded)
        self.box.use(self.loaded)
        self.now_ns = 10**9

    def run(self, ticks: int, size: int = 0) -> None:
        assert self.recorder is not None
        for _ in range(ticks):
            self.now_ns += 20_000_000
            name = next(iter(self.loaded.pipeline.slots))
            self.recorder.step(self.now_ns)
            self.recorder.hear(name, bytes(200 + size), self.now_ns, None, "waited")

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.mcap"))


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    folder = tmp_path / "policy"
    folder.mkdir()
    return Path(write_policy(folder))


def test_a_dump_has_what_was_recorded(policy: Path, tmp_path: Path) -> None:
    box = Box(policy, tmp_path / "files")
    assert box.node.dump() == (False, "the black box is empty: the policy has not run yet")
    box.run(50)
    success, path = box.node.dump()
    assert success, path
    assert box.files() == [Path(path)]
    assert is_black_box(Path(path))
    facts = read_facts(Path(path))
    assert facts.why == "~/dump"
    assert facts.sha256 == box.loaded.model.sha256
    records = list(read_records(Path(path), facts))
    assert sum(isinstance(one, Tick) for one in records) == 50
    assert sum(isinstance(one, Received) and len(one.raw) == 200 for one in records) == 50
    box.box.end()


def test_a_large_message_is_replaced_by_what_it_did(policy: Path, tmp_path: Path) -> None:
    box = Box(policy, tmp_path / "files")
    box.run(10, size=70_000)
    success, path = box.node.dump()
    assert success, path
    facts = read_facts(Path(path))
    assert facts.partial
    found = [one for one in read_records(Path(path), facts) if isinstance(one, NotKept)]
    assert len(found) == 9  # the newest one belongs to the next tick
    assert box.recorder is not None
    wanted = [one for one in box.recorder.read() if isinstance(one, NotKept)]
    name = next(iter(box.loaded.pipeline.slots))
    for one, other in zip(found, wanted, strict=True):
        assert one._replace(values=()) == other._replace(values=())
        slot_states(box.loaded.pipeline)[name].restore(
            dict(zip(slot_states(box.loaded.pipeline)[name].paths, one.values, strict=True)), "it"
        )
    assert Path(path).stat().st_size < 200_000
    box.box.end()


def test_other_readers_of_mcap_find_the_messages(policy: Path, tmp_path: Path) -> None:
    reader = pytest.importorskip("mcap.reader")
    box = Box(policy, tmp_path / "files")
    box.run(5)
    _, path = box.node.dump()
    with Path(path).open("rb") as file:
        found = [(schema.name, channel.topic) for schema, channel, _ in
                 reader.NonSeekingReader(file).iter_messages()]  # fmt: skip
    assert ("tick", "/policy_runner/black_box/tick") in found
    assert any(name == "sensor_msgs/msg/JointState" for name, _ in found)
    box.box.end()


def test_a_safe_stop_and_a_crash_write_a_file_each(policy: Path, tmp_path: Path) -> None:
    box = Box(policy, tmp_path / "files")
    box.run(10)
    box.loaded.pipeline.operator.hear_estop(True)
    box.run(1)
    wait_until(box.files)
    assert read_facts(box.files()[0]).why == "SAFE_STOP"
    box.crash = RuntimeError("as asked")
    time.sleep(0.3)  # the next one waits for its time, but not at the end
    assert len(box.files()) == 1
    box.box.end(5.0)
    assert len(box.files()) == 2
    assert read_facts(box.files()[1]).why == "the control thread failed: RuntimeError"


def test_the_oldest_files_are_removed(policy: Path, tmp_path: Path) -> None:
    box = Box(policy, tmp_path / "files", disk=1)
    foreign = tmp_path / "files" / "notes_2.mcap"
    foreign.parent.mkdir()
    foreign.write_bytes(bytes(5_000_000))
    box.run(10, size=60_000)  # 600 kB
    first, second = Path(box.node.dump()[1]), Path(box.node.dump()[1])
    wait_until(lambda: not first.exists())
    assert second.exists()
    assert foreign.exists()
    box.box.end()


def test_a_full_disk_leaves_the_older_files(policy: Path, tmp_path: Path, monkeypatch: Any) -> None:
    box = Box(policy, tmp_path / "files")
    box.run(10)
    kept = Path(box.node.dump()[1])
    before = kept.read_bytes()

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    success, text = box.node.dump()
    assert not success
    assert "No space left on device" in text
    assert [*box.folder.iterdir()] == [kept]
    assert kept.read_bytes() == before
    monkeypatch.undo()
    assert box.node.dump()[0]  # it works again as soon as there is space
    box.box.end()


_SMALL = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from test_black_box_files import Box
box = Box(Path(sys.argv[1]), Path(sys.argv[2]))
box.run(10)
print(*box.node.dump(), flush=True)
box.run(4000)
print(*box.node.dump(), flush=True)
print(len(list(box.folder.iterdir())), flush=True)
box.box.end(5.0)
"""
_TMPFS = ["unshare", "--mount", "--map-root-user", "sh", "-c"]


def _mounts_tmpfs() -> bool:
    try:
        return not subprocess.run([*_TMPFS, "mount -t tmpfs none /mnt"], capture_output=True,
                                  timeout=10, check=False).returncode  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False


@pytest.mark.skipif(not _mounts_tmpfs(), reason="may not mount a tmpfs of its own")
def test_a_tmpfs_that_fills_up(policy: Path, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    script = f'mount -t tmpfs -o size=256k none {files} && exec "$@"'
    child = [sys.executable, "-c", _SMALL, str(policy), str(files), *sys.path]
    done = subprocess.run([*_TMPFS, script, "sh", *child], capture_output=True, text=True,
                          timeout=60, check=False)  # fmt: skip
    first, second, count = done.stdout.splitlines()
    assert first.startswith("True ")
    assert second.startswith("False black box: ")
    assert "No space left on device" in second
    assert count == "1"  # the first file, and no unfinished one


def test_memory_that_is_not_granted_is_reported(
    policy: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    from policy_runner.ros.black_box import keeper

    def refuse(_size: int) -> None:
        raise MemoryError

    monkeypatch.setattr(keeper, "Memory", refuse)
    box = Box(policy, tmp_path / "files")
    assert box.recorder is None
    assert "black_box.memory: expected 8 MiB of memory, got none" in box.node.said[0]
    box.box.end()


def test_a_recorder_that_cannot_begin_leaves_the_policy(
    policy: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    from policy_runner.core.black_box import pipeline_recorder

    def fail(*_given: Any) -> None:
        raise TypeError("as asked")

    monkeypatch.setattr(pipeline_recorder, "PipelineState", fail)
    box = Box(policy, tmp_path / "files")
    assert box.recorder is None
    assert box.loaded.pipeline.recorder is None
    assert "black box: nothing is recorded: TypeError: as asked" in box.loaded.warnings[-1]
    box.box.end()


def test_a_folder_that_cannot_be_made_is_reported(policy: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    box = Box(policy, blocked / "files")
    box.run(10)
    success, text = box.node.dump()
    assert not success
    assert "nothing written: NotADirectoryError" in text
    assert text in box.node.said
    box.box.end()


_KILLED = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from test_black_box_files import Box
from policy_runner.ros.black_box import keeper
box = Box(Path(sys.argv[1]), Path(sys.argv[2]))
box.run(10)
print(box.node.dump(), flush=True)
keeper._AT_ONCE, keeper._PAUSE_S = 1, 0.2
print(box.node.dump(), flush=True)
time.sleep(60)
"""


def test_a_kill_while_writing_leaves_the_older_files(policy: Path, tmp_path: Path) -> None:
    files = tmp_path / "files"
    command = [sys.executable, "-c", _KILLED, str(policy), str(files), *sys.path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            wait_until(lambda: list(files.glob("*.mcap")) and list(files.glob("*.unfinished")), 30)
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait(10)
    (kept,) = files.glob("*.mcap")
    facts = read_facts(kept)
    assert sum(isinstance(one, Tick) for one in read_records(kept, facts)) == 10


def test_a_damaged_file_is_refused_with_its_name(policy: Path, tmp_path: Path) -> None:
    from policy_runner.core.errors import Refusal

    box = Box(policy, tmp_path / "files")
    box.run(10)
    path = Path(box.node.dump()[1])
    whole = path.read_bytes()
    box.box.end()
    for cut in range(60, len(whole) - 40, 997):
        path.write_bytes(whole[:cut])
        with pytest.raises(Refusal, match="files"):
            list(read_records(path, read_facts(path)))


def test_edited_facts_are_refused(policy: Path, tmp_path: Path) -> None:
    from policy_runner.core.errors import Refusal

    box = Box(policy, tmp_path / "files")
    box.run(10)
    path = Path(box.node.dump()[1])
    whole = path.read_bytes()
    box.box.end()
    for old, new in ((b"partial", b"Partial"), (b"false", b"fals!"), (b'"~/dump"', b'"~/dump!')):
        path.write_bytes(whole.replace(old, new))
        with pytest.raises(Refusal, match="expected a black box as the node wrote it"):
            read_facts(path)


def test_a_message_definition_is_complete() -> None:
    from policy_runner.ros.black_box.definitions import message_definition

    text = message_definition("sensor_msgs/msg/JointState")
    assert "std_msgs/Header header\nstring[] name\nfloat64[] position\n" in text
    assert "MSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n" in text
    assert "float64[9] orientation_covariance\n" in message_definition("sensor_msgs/msg/Imu")
