"""Tests that need torch: `make test-export`, in an environment of their own.

Every network is exported once and shared by the tests that look at it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("PYTEST_TIMEOUT", "300")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads of torch would wait for one another
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "test" / "rigs"), str(ROOT / "test" / "rigs" / "files")]
