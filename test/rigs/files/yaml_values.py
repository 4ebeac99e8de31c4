"""Values of parameter files, and rcl's values for them."""

from __future__ import annotations

import math
from typing import Any

# rcl's value of each plain text; test_parameter_reading.py compares them with rcl itself.
VALUES: dict[str, Any] = {
    "1": 1,
    "-7": -7,
    "+7": 7,
    "0x10": 16,
    "010": 8,
    "08": 8.0,
    "9223372036854775807": 2**63 - 1,
    "9223372036854775808": 2.0**63,
    "1.0": 1.0,
    "-.5": -0.5,
    "5.": 5.0,
    "1e3": 1000.0,
    "1e999": "1e999",
    "1e-400": "1e-400",
    "0e-400": 0.0,
    "0x1.8p1": 3.0,
    ".inf": math.inf,
    "-.INF": -math.inf,
    "inf": math.inf,
    "-Infinity": -math.inf,
    ".iNf": ".iNf",
    "yes": True,
    "y": True,
    "ON": True,
    "no": False,
    "Off": False,
    "yEs": "yEs",
    "~": "~",
    "null": "null",
    "1_000": "1_000",
    "12:30": "12:30",
    "2026-11-27": "2026-11-27",
    "0b11": "0b11",
    "joint_state": "joint_state",
    "'1'": "1",
    '"yes"': "yes",
    "''": "",
    "[]": [],
    "[1, 2]": [1, 2],
    "[1.0, .inf]": [1.0, math.inf],
    "[a, 'b', \"1\"]": ["a", "b", "1"],
    "[yes, off]": [True, False],
}
