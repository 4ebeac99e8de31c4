"""What the tutorials need of the `ros2` command, by rclpy: for machines without it.

A topic, service or parameter that is not there, or has another type, is an error, so that a page
cannot name one that does not exist. `launch` starts the rows of the process table, as the launch
file does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from typing import Any

import rclpy
import yaml
from rclpy.parameter import parameter_value_to_python
from rclpy.parameter_client import AsyncParameterClient

from policy_runner.ros.processes import LAUNCH_ARGUMENTS, Arguments, processes

WITHIN_S = 10.0


def interface(name: str) -> Any:
    """std_msgs/msg/Bool -> its class."""
    package, kind, one = name.split("/")
    return getattr(import_module(f"{package}.{kind}"), one)


def fill(message: Any, values: dict[str, Any]) -> Any:
    """Set the fields that a YAML mapping names."""
    for key, value in values.items():
        before = getattr(message, key)
        nested = isinstance(value, dict)
        setattr(message, key, fill(before, value) if nested else type(before)(value))
    return message


def told(message: Any) -> Any:
    """A message as plain data, in the order of its fields."""
    if hasattr(message, "get_fields_and_field_types"):
        return {key: told(getattr(message, key)) for key in message.get_fields_and_field_types()}
    if isinstance(message, (str, bytes, int, float)):
        return message
    return [told(one) for one in message]


def within(what: str, done: Any, node: Any) -> None:
    """Spin until it is done; end with a sentence when it is not in time."""
    end = time.monotonic() + WITHIN_S
    while not done():
        if time.monotonic() > end:
            sys.exit(f"ros2: {what}: not within {WITHIN_S:g} s")
        rclpy.spin_once(node, timeout_sec=0.05)


def kinds(node: Any, topic: str, kind: str, own: int) -> list[str]:
    """Types of a topic as others have it: publishers for `echo`, subscriptions for `pub`."""
    asked = node.get_publishers_info_by_topic if own else node.get_subscriptions_info_by_topic
    return [one.topic_type for one in asked(topic) if kind in ("", one.topic_type)]


def service_call(node: Any, name: str, kind: str) -> None:
    """ros2 service call NAME TYPE"""
    client = node.create_client(interface(kind), name)
    within(f"service {name}", client.service_is_ready, node)
    assert (name, [kind]) in node.get_service_names_and_types()
    future = client.call_async(interface(kind).Request())
    within(f"answer of {name}", future.done, node)
    print(f"response:\n{future.result()}")  # noqa: T201


def topic_pub(node: Any, once: str, name: str, kind: str, text: str) -> None:
    """ros2 topic pub --once NAME TYPE VALUES"""
    assert once == "--once"
    message = fill(interface(kind)(), yaml.safe_load(text))
    publisher = node.create_publisher(interface(kind), name, 1)
    within(f"a subscription of {name}", lambda: kinds(node, name, kind, own=0), node)
    within(f"a match on {name}", publisher.get_subscription_count, node)
    publisher.publish(message)
    within("its way", lambda: publisher.wait_for_all_acked(), node)
    print(f"publishing #1: {message}")  # noqa: T201


def topic_echo(node: Any, once: str, name: str) -> None:
    """ros2 topic echo --once NAME"""
    assert once == "--once"
    within(f"a publisher of {name}", lambda: kinds(node, name, "", own=1), node)
    kind = kinds(node, name, "", own=1)[0]
    got: list[Any] = []
    node.create_subscription(interface(kind), name, got.append, 10)
    within(f"a message on {name}", lambda: got, node)
    print(yaml.safe_dump(told(got[0]), sort_keys=False) + "---")  # noqa: T201


def param_set(node: Any, target: str, key: str, text: str) -> None:
    """ros2 param set NODE NAME VALUE"""
    client = AsyncParameterClient(node, target)
    within(f"node {target}", client.services_are_ready, node)
    before = client.get_parameters([key])
    within(f"parameter {key}", before.done, node)
    known = [parameter_value_to_python(one) for one in before.result().values]
    assert known != [None], f"no parameter {key}"
    value = rclpy.Parameter(key, value=type(known[0])(yaml.safe_load(text)))
    answer = client.set_parameters([value])
    within("the answer", answer.done, node)
    (result,) = answer.result().results
    if not result.successful:
        sys.exit(f"Setting parameter failed: {result.reason}")
    print("Set parameter successful")  # noqa: T201


def launch(package: str, file: str, *given: str) -> int:
    """ros2 launch policy_runner jetson.launch.py NAME:=VALUE ..."""
    assert (package, file) == ("policy_runner", "jetson.launch.py")
    known = {name for name, _, _ in LAUNCH_ARGUMENTS}
    values: dict[str, Any] = dict(word.split(":=", 1) for word in given)
    assert set(values) <= known, f"no launch arguments {set(values) - known}"
    values = {k: v == "true" if v in ("true", "false") else v for k, v in values.items()}
    children = []
    for row in processes(Arguments(**values)):
        words = [sys.executable, "-m", row.module, "--ros-args", "--params-file"]
        words.append(str(row.params_file))
        for key, value in row.parameters.items():
            words += ["-p", f"{key}:={str(value).lower() if value in (True, False) else value}"]
        children.append(subprocess.Popen(words, start_new_session=True))
    ended: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.append(1))
    while not ended and all(child.poll() is None for child in children):
        time.sleep(0.05)
    for child in children:
        os.kill(child.pid, signal.SIGINT)
    return max(abs(child.wait(10.0)) for child in children)


def main(words: list[str]) -> int:
    """One command."""
    if words[0] == "launch":
        return launch(*words[1:])
    verbs = {
        ("service", "call"): service_call,
        ("topic", "pub"): topic_pub,
        ("topic", "echo"): topic_echo,
        ("param", "set"): param_set,
    }
    rclpy.init()
    verbs[words[0], words[1]](rclpy.create_node("ros2_substitute"), *words[2:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
