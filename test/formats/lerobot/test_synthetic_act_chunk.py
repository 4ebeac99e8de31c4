"""The published chunk policy to its golden values: model, statistics and image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from published_policies import MISSING, POLICIES, imported, write_spec

from policy_runner.backends.interface import BackendRequest
from policy_runner.backends.load import load_model
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.pipeline.bind_policy import BoundPolicy, Robot, bind_policy
from policy_runner.core.spec import read_spec
from policy_runner.core.spec.parts import policies

pytestmark = pytest.mark.skipif(not POLICIES.is_dir(), reason=MISSING)
FOLDER = "synthetic-act-chunk"
JOINTS = [f"joint_{k}" for k in range(14)]
