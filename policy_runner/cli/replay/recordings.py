"""Reads rosbag2 recordings (mcap, db3) as messages in time; needs `rosbags`, but no ROS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from policy_runner.cli.command_parser import topic_of
from policy_runner.cli.replay.signals import Event
from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.inputs.text import STRING
from policy_runner.core.spec import Input
from policy_runner.robot.values import NODE

SUFFIXES = (".mcap", ".db3")
TWISTS = {"geometry_msgs/msg/Twist", "geometry_msgs/msg/TwistStamped"}


@dataclass
class Recording:
    """Messages of the policy's inputs in the order of their reception.

    `types` are the recorded message types. A velocity command may be recorded as Twist instead of
    TwistStamped, or the other way round. It is read with the recorded type, as in a node with
    `inputs.NAME.type`.
    """

    events: Iterator[Event]
    count: int
    types: dict[str, str]
    topics: dict[str, str]


def is_recording(path: Path) -> bool:
    """Return whether a path is a rosbag2 folder, or one of its storage files."""
    return path.suffix in SUFFIXES or (path.is_dir() and (path / "metadata.yaml").is_file())


@contextmanager
def open_recording(
    path: Path, inputs: Mapping[str, Input], topics: Mapping[str, str], node: str = NODE
) -> Iterator[Recording]:
    """Open a recording.

    Args:
        path: rosbag2 folder, or one of its storage files.
        inputs: inputs of the policy spec by name.
        topics: input name -> recorded topic, if it differs from the spec's topic.
        node: fully qualified name of the node, for topics such as `~/prompt`.

    Raises:
        Refusal: rosbags is missing, the path is no recording, a topic is not in it, or has
            another type.
    """
    if find_spec("rosbags") is None:
        remedy = "pip install 'policy_runner[replay]'"
        raise refuse(str(path), "", "the package rosbags, which reads recordings", "none", remedy)
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    if path.suffix == ".db3" and (path.parent / "metadata.yaml").is_file():
        path = path.parent
    # Recordings before Iron contain no message definitions: use the definitions of Humble.
    store = get_typestore(Stores.ROS2_HUMBLE)
    try:
        reader = AnyReader([path], default_typestore=store)
        reader.open()
    except Exception as error:  # a damaged file raises errors of struct, lz4, sqlite, yaml, ...
        raise refuse(str(path), "", "a rosbag2 recording", _text(error)) from error
    try:
        chosen = _choose(reader.connections, inputs, topics, path, node)
        _known(chosen, reader.typestore.fielddefs, path)
        wanted = {name: list(found) for name, found in chosen.items()}
        yield Recording(
            _events(reader, wanted, path),
            sum(one.msgcount for found in wanted.values() for one in found),
            {name: found[0].msgtype for name, found in wanted.items()},
            {name: found[0].topic for name, found in wanted.items()},
        )
    finally:
        reader.close()


def _text(error: Exception) -> str:
    text = " ".join(str(error).split())
    if type(error).__name__ == "AnyReaderError":
        return text
    return f"a file that ends early or is damaged ({text})"


def _choose(
    connections: Any, inputs: Mapping[str, Input], topics: Mapping[str, str], path: Path, node: str
) -> dict[str, list[Any]]:
    problems = [
        Problem(str(path), f"--topic {name}", f"an input ({', '.join(inputs)})", f"'{name}'")
        for name in topics
        if name not in inputs
    ]
    chosen: dict[str, list[Any]] = {}
    for name, given in inputs.items():
        topic = "/" + topic_of(topics.get(name, given.topic), node).lstrip("/")
        fitting = TWISTS if given.type in TWISTS else {given.type}
        found = [one for one in connections if one.topic == topic]
        if not found and given.type == STRING and name not in topics:
            continue  # the parameter `prompt` may be the only text
        if not found:
            alike = sorted({one.topic for one in connections if one.msgtype in fitting})
            got = f"topics of its type: {', '.join(alike)}" if alike else "none of its type"
            remedy = f"say --topic {name}=TOPIC" if alike else ""
            expected = f"{topic} ({given.type}) in the recording"
            problems.append(Problem(str(path), f"inputs.{name}", expected, got, remedy))
        elif any(one.msgtype not in fitting for one in found):
            expected = f"{given.type} on {topic}"
            got = ", ".join(sorted({one.msgtype for one in found}))
            remedy = f"set inputs.{name}.type in --params"
            problems.append(Problem(str(path), f"inputs.{name}", expected, got, remedy))
        else:
            chosen[name] = found
    if problems:
        raise Refusal(problems)
    return chosen


def _known(chosen: Mapping[str, list[Any]], known: Mapping[str, Any], path: Path) -> None:
    """Refuse message types that neither the recording nor ROS's own packages define."""
    problems = [
        Problem(
            str(path), f"inputs.{name}", f"a definition of {found[0].msgtype} in the recording",
            "none", "record as mcap, which keeps definitions",
        )
        for name, found in chosen.items()
        if found[0].msgtype not in known
    ]  # fmt: skip
    if problems:
        raise Refusal(problems)


def _messages(reader: Any, connections: list[Any], path: Path) -> Iterator[tuple[Any, int, bytes]]:
    """Yield every message; a recording that ends in the middle is refused at that place."""
    messages = reader.messages(connections=connections)
    count = 0
    while True:
        try:
            following = next(messages)
        except StopIteration:
            return
        except Exception as error:  # a damaged chunk raises errors of struct, lz4, zstandard, ...
            expected = "a whole recording"
            raise refuse(str(path), f"after {count} messages", expected, _text(error)) from error
        count += 1
        yield following


def _events(reader: Any, wanted: Mapping[str, list[Any]], path: Path) -> Iterator[Event]:
    names: dict[int, list[str]] = {}
    for name, found in wanted.items():
        for one in found:
            names.setdefault(id(one), []).append(name)
    connections = list({id(one): one for found in wanted.values() for one in found}.values())
    for connection, t_ns, raw in _messages(reader, connections, path):
        try:
            message = reader.deserialize(raw, connection.msgtype)
        except Exception as error:  # damaged bytes raise errors of rosbags, numpy and struct
            text = " ".join(str(error).split()) or type(error).__name__
            expected = f"a whole {connection.msgtype} on {connection.topic}"
            raise refuse("the recording", f"t = {t_ns} ns", expected, text) from error
        for name in names[id(connection)]:
            yield Event(int(t_ns), name, message)
