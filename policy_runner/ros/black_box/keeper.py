"""The node's black box: memory for the control thread, and a thread of its own for the files."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node
from std_srvs.srv import Trigger

from policy_runner.core.black_box.pipeline_recorder import Recorder
from policy_runner.core.black_box.records import Received, State, Tick
from policy_runner.core.black_box.ring import Memory
from policy_runner.robot.load import LoadedPolicy
from policy_runner.ros.black_box.content import KINDS, LIBRARY, NAMESPACE, Facts, to_json
from policy_runner.ros.black_box.definitions import message_definition
from policy_runner.ros.black_box.mcap_file import McapWriter
from policy_runner.ros.process.realtime import prepare_working_thread

MEBIBYTE = 1 << 20
_LOOK_S = 0.1
_AFTER_S = 0.5  # a file also has the ticks after a SAFE_STOP
_LEAST_S = 10.0  # between two files without a request
_ANSWER_WITHIN_S = 0.4
_AT_ONCE = 16  # records between two pauses, so that the control thread need not wait
_PAUSE_S = 0.0005


def default_folder() -> Path:
    """Return the folder of the files: that of ROS's logs, with one of our own in it."""
    home = os.environ.get("ROS_HOME") or "~/.ros"
    log = os.environ.get("ROS_LOG_DIR") or f"{home}/log"
    return Path(log).expanduser() / "black_box"


class BlackBox:
    """`black_box.*` and `~/dump` of a node."""

    def __init__(
        self, node: Node, value: Callable[[str], Any], crashed: Callable[[], BaseException | None]
    ) -> None:
        """Allocate the memory and start the thread, if `black_box.seconds` is not 0.

        Args:
            node: gets the service.
            value: returns a parameter's value.
            crashed: returns why the control thread has failed, or None.
        """
        self._node = node
        self._crashed = crashed
        self._seconds = float(value("black_box.seconds"))
        self._folder = Path(value("black_box.folder") or default_folder()).expanduser()
        self._most_bytes = int(value("black_box.disk")) * MEBIBYTE
        self._memory: Memory | None = None
        self._recorder: Recorder | None = None
        self._loaded: LoadedPolicy | None = None
        self._seen_stops = 0
        self._seen_crash: BaseException | None = None
        self._asked: list[_Request] = []
        self._ending = threading.Event()
        if not self._seconds:
            return
        size = int(value("black_box.memory"))
        try:
            self._memory = Memory(size * MEBIBYTE)
        except MemoryError:  # for example: above the limit of locked memory
            node.get_logger().error(
                f"black_box.memory: expected {size} MiB of memory, got none: lower it or raise the "
                "process's limit (memlock with realtime.lock_memory); nothing is recorded"
            )
            return
        node.create_service(Trigger, "~/dump", self._serve)
        self._thread = threading.Thread(target=self._run, name="black box", daemon=True)
        self._thread.start()

    def recorder_for(self, loaded: LoadedPolicy) -> Recorder | None:
        """Return a recorder of a policy's pipeline, which the next steps use; None: none."""
        if self._memory is None:
            return None
        try:
            recorder = Recorder(loaded.pipeline, self._memory, self._seconds)
            fits = recorder.fits
        except Exception as error:  # noqa: BLE001 - the policy runs without a record
            loaded.warnings.append(
                f"black box: nothing is recorded: {type(error).__name__}: {error}; please report it"
            )
            return None
        if not fits:
            loaded.warnings.append(
                "black box: expected memory for the state of this policy, got a state that is too "
                "large: raise black_box.memory; nothing is recorded"
            )
            return None
        loaded.pipeline.recorder = recorder
        return recorder

    def use(self, loaded: LoadedPolicy) -> None:
        """Write the files of this policy from now on; its loop has begun, or is about to."""
        recorder = loaded.pipeline.recorder
        self._recorder = recorder if isinstance(recorder, Recorder) else None
        self._loaded = loaded
        self._seen_stops = self._recorder.stops if self._recorder is not None else 0

    def drop(self) -> None:
        """Forget the policy, which is about to be freed. A file in progress is finished."""
        self._recorder = self._loaded = None

    def end(self, timeout_s: float = 0.3) -> None:
        """Write what is due and stop the thread, before the process ends."""
        if self._memory is not None and not self._ending.is_set():
            self._ending.set()
            self._thread.join(timeout_s)

    # --- ~/dump ---

    def _serve(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        request = _Request()
        self._asked.append(request)
        if request.done.wait(_ANSWER_WITHIN_S):
            response.success, response.message = request.success, request.message
        else:
            response.success = True
            response.message = f"writing to {self._folder}; the log says when it is complete"
        return response

    # --- the thread ---

    def _run(self) -> None:
        prepare_working_thread()
        written_s = -_LEAST_S
        due: tuple[float, str] | None = None
        while True:
            ending = self._ending.wait(_LOOK_S)
            why = self._new_reason()
            if why and due is None:
                due = (max(time.monotonic() + _AFTER_S, written_s + _LEAST_S), why)
            while self._asked:
                self._asked[0].answer(*self._write("~/dump"))
                self._asked.pop(0)
            if due is not None and (ending or time.monotonic() >= due[0]):
                self._write(due[1])
                written_s, due = time.monotonic(), None
            if ending:
                return

    def _new_reason(self) -> str:
        """Why a file is due, or ''."""
        crash = self._crashed()
        if crash is not self._seen_crash:
            self._seen_crash = crash
            if crash is not None:
                return f"the control thread failed: {type(crash).__name__}"
        recorder = self._recorder
        if recorder is not None and recorder.stops != self._seen_stops:
            self._seen_stops = recorder.stops
            return "SAFE_STOP"
        return ""

    def _write(self, why: str) -> tuple[bool, str]:
        """Write a file; return whether that succeeded, and its path or the reason."""
        recorder, loaded = self._recorder, self._loaded
        if recorder is None or loaded is None:
            return False, "the black box is empty: no policy is recorded"
        try:
            path = self._write_file(recorder, loaded, why)
        except Exception as error:  # noqa: BLE001 - the thread must write the next file
            text = f"black box: {self._folder}: nothing written: {type(error).__name__}: {error}"
            self._node.get_logger().error(text)
            return False, text
        if path is None:
            return False, "the black box is empty: the policy has not run yet"
        self._node.get_logger().info(f"black box written: {path} ({why})")
        self._remove_old(path)
        return True, str(path)

    def _write_file(self, recorder: Recorder, loaded: LoadedPolicy, why: str) -> Path | None:
        self._folder.mkdir(parents=True, exist_ok=True)
        stem = self._stem()
        stamp = time.strftime("%Y%m%d_%H%M%S", time.localtime())
        path = self._folder / f"{stem}_{stamp}_{time.time_ns() % 10**9 // 10**6:03d}.mcap"
        # The name changes when the file is complete: a file with its name is never cut off.
        unfinished = path.with_suffix(".unfinished")
        try:
            with unfinished.open("wb") as file:
                count = self._write_records(McapWriter(file, LIBRARY), recorder, loaded, why)
                file.flush()
                os.fsync(file.fileno())
            if count:
                unfinished.replace(path)
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
        return path if count else None

    def _write_records(
        self, writer: McapWriter, recorder: Recorder, loaded: LoadedPolicy, why: str
    ) -> int:
        writer.metadata("facts", _facts(recorder, loaded, why).to_texts())
        channels = {
            kind: writer.channel(f"{NAMESPACE}/{kind}", (kind, "jsonschema", _SCHEMA), "json")
            for kind in KINDS
        }
        for name, given in loaded.spec.inputs.items():
            schema = (given.type, "ros2msg", message_definition(given.type))
            topic = "/" + given.topic.lstrip("/")
            if given.topic.startswith("~/"):
                topic = f"{self._node.get_fully_qualified_name()}/{given.topic[2:]}"
            channels[f"input {name}"] = writer.channel(topic, schema, "cdr")
        simulated = loaded.config.loop.simulated
        # Files have wall times; the loop's clock is monotonic, except in simulation.
        offset_ns = 0 if simulated else time.time_ns() - time.monotonic_ns()
        ticks, now_ns = 0, 0
        for k, record in enumerate(recorder.read()):
            if isinstance(record, (Tick, State)):
                now_ns = record.now_ns
            ticks += isinstance(record, Tick)
            kind, content = to_json(record)
            writer.message(channels[kind], now_ns + offset_ns, json.dumps(content).encode())
            if isinstance(record, Received):
                writer.message(channels[f"input {record.input}"], now_ns + offset_ns, record.raw)
            if k % _AT_ONCE == 0 and not self._ending.is_set():
                time.sleep(_PAUSE_S)
        writer.finish()
        return ticks

    def _stem(self) -> str:
        name = self._node.get_fully_qualified_name().strip("/")
        return re.sub(r"[^A-Za-z0-9_]+", "-", name)

    def _remove_old(self, newest: Path) -> None:
        """Remove this node's oldest files until all of them are within `black_box.disk`."""
        with contextlib.suppress(OSError):
            files = sorted(self._folder.glob(f"{self._stem()}_2*.mcap"))
            sizes = {path: path.stat().st_size for path in files}
            for path in files:
                if sum(sizes.values()) <= self._most_bytes or path == newest:
                    return
                path.unlink(missing_ok=True)
                del sizes[path]


class _Request:
    """One call of ~/dump."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.success, self.message = False, ""

    def answer(self, success: bool, message: str) -> None:
        self.success, self.message = success, message
        self.done.set()


def _facts(recorder: Recorder, loaded: LoadedPolicy, why: str) -> Facts:
    return Facts(
        why,
        str(loaded.spec_file.path.resolve()),
        loaded.model.sha256,
        loaded.config.loop.simulated,
        loaded.values,
        [[name, given.topic, given.type] for name, given in loaded.spec.inputs.items()],
        [element.joint for element in loaded.pipeline.elements],
        [list(one) for one in recorder.tensors],
        recorder.state.paths,
        recorder.state.outside,
        recorder.partial,
        {"python": platform.python_version(), "numpy": np.__version__},
    )


_SCHEMA = '{"type": "object"}'
