"""The parameter `prompt`: the text of a policy's text inputs, until a message has a newer one."""

from __future__ import annotations

from collections.abc import Mapping

from policy_runner.core.errors import Problem
from policy_runner.core.inputs.joints import NEVER
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.inputs.text import STRING

NO_AGE_LIMIT_NS = 1 << 62  # of a text: it is valid until the next one


def prompt_problems(slots: Mapping[str, InputSlot], prompt: str) -> list[Problem]:
    """Return why the policy cannot use this text.

    Args:
        slots: the policy's inputs.
        prompt: the parameter; "": none.
    """
    texts = {name: slot.text for name, slot in slots.items() if slot.text is not None}
    if prompt and not texts:
        expected = f"nothing, since the policy has no input of type {STRING}"
        return [Problem("", "parameter prompt", expected, f"'{prompt}'", "leave it out")]
    return [
        Problem("", "parameter prompt", f"a text for input {name}", fault)
        for name, text in texts.items()
        if (fault := text.fault_of(prompt))
    ]


def give_prompt(slots: Mapping[str, InputSlot], prompt: str) -> None:
    """Let every text input begin with this text, unless a message has come already.

    Args:
        slots: the policy's inputs.
        prompt: the parameter, without a problem; "": no text.
    """
    for slot in slots.values():
        # In a reload, a message may be newer than a change of the parameter.
        if slot.text is not None and slot.arrived_ns == NEVER:
            slot.text.begin_with(prompt)
