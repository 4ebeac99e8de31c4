"""The text of a message type, for readers of a file that do not have the type."""

from __future__ import annotations

import re

from policy_runner.ros.messages.types import describe_message

_NUMBERS = {"float": "float32", "double": "float64", "boolean": "bool", "octet": "byte"}
_LINE = "=" * 80


def message_definition(type_name: str) -> str:
    """Return the definition of a type and of all types in it, as in rosbag2's MCAP files."""
    waiting, seen, texts = [type_name], {type_name}, []
    while waiting:
        name = waiting.pop(0)
        lines = []
        for field, kind in describe_message(name).items():
            base, text = _field(kind)
            lines.append(f"{text} {field}")
            full = base.replace("/", "/msg/") if "/" in base else ""
            if full and full not in seen:
                seen.add(full)
                waiting.append(full)
        head = [] if name == type_name else [_LINE, f"MSG: {name.replace('/msg/', '/')}"]
        texts += [*head, *lines]
    return "\n".join(texts) + "\n"


def _field(kind: str) -> tuple[str, str]:
    """The base type of a field, and the field's type as in a definition."""
    base, suffix = kind, ""
    sequence = re.fullmatch(r"sequence<(.+?)(?:, (\d+))?>", kind)
    array = re.fullmatch(r"(.+)\[(\d+)\]", kind)
    if sequence:
        base, suffix = sequence[1], f"[<={sequence[2]}]" if sequence[2] else "[]"
    elif array:
        base, suffix = array[1], f"[{array[2]}]"
    base = _NUMBERS.get(base, base)
    text = re.sub(r"^(w?string)<(\d+)>$", r"\1<=\2", base)
    return base, text + suffix
