"""Creates the reader of an input, checked against the message type and the configuration.

*configure* and `policy-runner check` both create it here, so that they refuse the same inputs.
"""

from __future__ import annotations

from typing import Any

from policy_runner.core.errors import Problem, Refusal, collect
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.robot.config import RobotConfig
from policy_runner.robot.load import LoadedPolicy
from policy_runner.ros.inputs.texts import text_reader
from policy_runner.ros.messages.raw_reader import RawReader, SlotReader
from policy_runner.ros.messages.types import message_class


def checked_reader(slot: InputSlot, message_type: Any, config: RobotConfig) -> RawReader:
    """Create the reader that writes an input's messages into its slot.

    Raises:
        Refusal: the type lacks a field that the policy reads, or a header that the configuration
            needs (`strict_stamp`, lockstep).
    """
    if slot.text is not None:  # it has no age and no step, so it needs no header
        return text_reader(slot)
    reader = SlotReader(slot, message_type, config.loop.max_joint_names)
    problems: list[Problem | str] = []
    if not slot.stamped and config.inputs[slot.name].strict_stamp:
        expected = f"false, since a {slot.spec.type} has no header"
        key = f"parameter inputs.{slot.name}.strict_stamp"
        problems.append(Problem("", key, expected, "true"))
    if not slot.stamped and config.loop.lockstep:
        expected = f"false, since the input {slot.name} has no stamp: {slot.spec.type} is"
        expected += " without a header"
        problems.append(Problem("", "parameter lockstep", expected, "true"))
    if problems:
        raise Refusal(problems)
    return reader


def input_problems(loaded: LoadedPolicy) -> list[Problem | str]:
    """Return the problems of every input whose messages cannot be read.

    A message type that is not installed here is not a problem: it adds a warning to `loaded`.
    """
    problems: list[Problem | str] = []
    for name, slot in loaded.pipeline.slots.items():
        try:
            message_type = message_class(slot.spec.type, f"parameter inputs.{name}.type")
        except Refusal:
            text = (
                f"inputs.{name}: {slot.spec.type} is not installed here, its fields are unchecked"
            )
            loaded.warnings.append(text)
            continue
        with collect(problems):
            checked_reader(slot, message_type, loaded.config)
    return problems
