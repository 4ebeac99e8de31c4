"""What a black box's file contains: ticks and states as JSON, inputs as they were received."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.core.black_box.records import (
    Answered,
    Call,
    Last,
    NotKept,
    Received,
    Record,
    Refused,
    State,
    Tick,
    fault_from_plain,
    fault_to_plain,
    tick_facts,
)
from policy_runner.core.errors import refuse
from policy_runner.core.model import Array
from policy_runner.core.safety.decision import Decision, Reason
from policy_runner.ros.black_box.mcap_file import McapMessage, mcap_library, read_mcap

LIBRARY = "policy_runner black box 1"
NAMESPACE = "/policy_runner/black_box"
_EXPECTED = "a black box as the node wrote it"
KINDS = ("tick", "state", "event", "received")  # topics in the namespace, JSON


@dataclass(frozen=True)
class Facts:
    """What a replay must know about the pipeline of a file; all values are plain."""

    why: str  # why the file was written
    spec: str  # path of the policy.yaml
    sha256: str  # of the model
    simulated: bool
    values: dict[str, Any]  # parameter name -> value
    inputs: list[list[str]]  # name, topic and type
    elements: list[str]  # of a command
    tensors: list[list[Any]]  # per built tensor its name, type and size
    paths: list[str]  # of a state's values
    outside: list[str] = field(default_factory=list)  # state that no file can have
    partial: bool = False  # some messages were too large to be kept
    versions: dict[str, str] = field(default_factory=dict)

    def to_texts(self) -> dict[str, str]:
        """Return the facts as texts by name."""
        return {name: json.dumps(value) for name, value in asdict(self).items()}

    @staticmethod
    def from_texts(texts: dict[str, str]) -> Facts:
        """Return the facts of `to_texts`."""
        return Facts(**{name: json.loads(text) for name, text in texts.items()})


def to_json(record: Record) -> tuple[str, dict[str, Any]]:
    """Return the kind of a record and its content; a message's bytes are not in it."""
    if isinstance(record, Tick):
        return "tick", _tick(record)
    if isinstance(record, State):
        return "state", {"now_ns": record.now_ns, "values": [_safe(one) for one in record.values]}
    if isinstance(record, Received):
        return "received", {
            "input": record.input, "arrived_ns": record.arrived_ns,
            "clock_ns": record.clock_ns, "arrival": record.arrival,
        }  # fmt: skip
    content: dict[str, Any] = {"event": type(record).__name__, **record._asdict()}
    if isinstance(record, Refused):
        content["fault"] = fault_to_plain(record.fault)
    if isinstance(record, Answered):
        content["rows"] = None if record.rows is None else record.rows.tolist()
    if isinstance(record, NotKept):
        content["values"] = [_safe(one) for one in record.values]
    if isinstance(record, (Refused, Last)):
        content["command"] = None if record.command is None else record.command.tolist()
    return "event", content


def _tick(tick: Tick) -> dict[str, Any]:
    found: dict[str, Any] = {
        "now_ns": tick.now_ns, "decision": tick.decision.name, "reason": tick.reason.name,
        "took_ns": tick.took_ns,
        "command": None if tick.command is None else tick.command.tolist(),
    }  # fmt: skip
    if tick.raw_action is not None:
        found["raw_action"] = tick.raw_action.tolist()
        found["observation"] = {name: one.tolist() for name, one in tick.tensors.items()}
    facts = {
        "outer": fault_to_plain(tick.outer), "operator": fault_to_plain(tick.operator),
        "observed": fault_to_plain(tick.observed), "asked": tick.asked or None,
        "armed": tick.armed or None, "looked_ns": tick.looked_ns,
    }  # fmt: skip
    return {**found, **{name: value for name, value in facts.items() if value is not None}}


def from_json(kind: str, content: dict[str, Any], facts: Facts, raw: bytes = b"") -> Record:
    """Return the record of `to_json`; `raw` are the bytes of a message."""
    if kind == "state":
        return State(content["now_ns"], [_unsafe(one) for one in content["values"]])
    if kind == "received":
        return Received(raw=raw, **content)
    if kind == "event":
        return _event(content)
    types = {name: dtype for name, dtype, _ in facts.tensors}
    given = content.get("observation", {})
    return Tick(
        content["now_ns"], content["took_ns"],
        Decision[content["decision"]], Reason[content["reason"]],
        _numbers(content["command"]), _numbers(content.get("raw_action")),
        {name: np.array(numbers, dtype=types[name]) for name, numbers in given.items()},
        **tick_facts(content),
    )  # fmt: skip


def _event(content: dict[str, Any]) -> Record:
    kind = content.pop("event")
    if kind == "Refused":
        fault = fault_from_plain(content["fault"])
        assert fault is not None
        return Refused(content["now_ns"], fault, _numbers(content["command"]))
    if kind == "Last":
        return Last(_numbers(content["command"]))
    if kind == "Answered":
        return Answered(**{**content, "rows": _numbers(content["rows"])})
    if kind == "Call":
        return Call(**content)
    values = [_unsafe(one) for one in content.pop("values")]
    return NotKept(values=values, **content)


def _numbers(given: list[Any] | None) -> Array | None:
    return None if given is None else np.array(given, dtype=np.float64)


def _safe(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b": base64.b64encode(value).decode()}
    return [_safe(one) for one in value] if isinstance(value, (tuple, list)) else value


def _unsafe(value: Any) -> Any:
    if isinstance(value, dict):
        return base64.b64decode(value["b"])
    return [_unsafe(one) for one in value] if isinstance(value, list) else value


def is_black_box(path: Path) -> bool:
    """Return whether a file is the black box of a node."""
    return path.suffix == ".mcap" and mcap_library(path) == LIBRARY


def read_facts(path: Path) -> Facts:
    """Return the facts of a black box's file.

    Raises:
        Refusal: the file is damaged.
    """
    for one in read_mcap(path):
        if isinstance(one, dict):
            try:
                return Facts.from_texts(one)
            except (ValueError, TypeError) as error:
                text = f"{type(error).__name__}: {error}"
                raise refuse(str(path), "facts", _EXPECTED, text) from error
    raise refuse(str(path), "", "a whole black box", "a file without facts")


def read_records(path: Path, facts: Facts) -> Iterator[Record]:
    """Return the records of a black box's file, in order.

    Raises:
        Refusal: the file is damaged.
    """
    announced: dict[str, Any] | None = None
    try:
        for one in read_mcap(path):
            if not isinstance(one, McapMessage):
                continue
            kind = one.topic.removeprefix(f"{NAMESPACE}/")
            if kind not in KINDS:
                if announced is not None:
                    yield from_json("received", announced, facts, one.data)
                announced = None
            elif kind == "received":
                announced = json.loads(one.data)
            else:
                yield from_json(kind, json.loads(one.data), facts)
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        text = f"{type(error).__name__}: {error}"
        raise refuse(str(path), "", _EXPECTED, text) from error
