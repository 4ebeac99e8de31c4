"""Reads the message paths of a Foxglove layout and looks for each in real messages.

A path is a topic, fields, `[3]`, `[:]` and filters such as `{key=="load"}`:
https://docs.foxglove.dev/docs/visualization/message-path-syntax
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

LAYOUT = Path(__file__).resolve().parents[3] / "config" / "foxglove_layout.json"
_PART = re.compile(r'\.(\w+)|\[(\d+|:)\]|\{(\w+)=="([^"]*)"\}')


def message_paths(layout: Path = LAYOUT) -> list[str]:
    """Return every message path of a layout's panels."""
    panels = json.loads(layout.read_text("utf-8"))["configById"].values()
    return [one["value"] for panel in panels for one in panel.get("paths", [])]


def topics(layout: Path = LAYOUT) -> set[str]:
    """Return every topic of a layout's panels."""
    found = {topic_of(path) for path in message_paths(layout)}
    for panel in json.loads(layout.read_text("utf-8"))["configById"].values():
        found |= set(panel.get("topics", {}))
        found |= {panel["topicToRender"]} if "topicToRender" in panel else set()
    return found


def topic_of(path: str) -> str:
    return re.split(r"[.\[{]", path, maxsplit=1)[0]


def resolve(path: str, message: Any) -> list[Any]:
    """Return what a path finds in a message of its topic; [] if nothing."""
    at, found = len(topic_of(path)), [message]
    while at < len(path):
        part = _PART.match(path, at)
        assert part is not None, f"{path}: not understood from {path[at:]!r}"
        at = part.end()
        name, index, key, value = part.groups()
        if name:
            found = [getattr(one, name) for one in found]
        elif key:
            found = [one for one in found if getattr(one, key) == value]
        elif index == ":":
            found = [item for one in found for item in one]
        else:
            found = [one[int(index)] for one in found if len(one) > int(index)]
    return found
