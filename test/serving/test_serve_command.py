"""`policy-runner serve` as a process: its first lines, its workers, its end, its refusals."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from children import spawn
from cli_rig import refusals, signals, write_policy

NEEDED = ("fastapi", "uvicorn", "httptools", "websockets", "msgpack", "onnx")
pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in NEEDED), reason="the extra [serve] is not installed"
)
ROOT = Path(__file__).resolve().parents[2]
