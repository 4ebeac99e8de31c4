"""Published models without recorded signals, run through the pipeline."""

from __future__ import annotations

import numpy as np
import pytest
from golden_rig import (
    MS,
    content_of,
    load,
    needs_policies,
    run_signals,
    signals_of,
    spec_beside_model,
)

from policy_runner.core.pipeline.build import build_pipeline
from policy_runner.core.safety.decision import Decision
from policy_runner.core.settings import CommandLimits, InputRule, Settings
from policy_runner.core.spec import PolicySpec, SpecFile

pytestmark = needs_policies


@pytest.mark.parametrize(
    ("measured", "published"),
    [((5.0, 5.0, 20.0), 0.0077), ((30.0, 10.0, 50.0), -2.1154), ((5.0, 20.0, 30.0), 1.5)],
)
def test_the_car(measured: tuple[float, float, float], published: float) -> None:
    spec_file = spec_beside_model("rav4-cruise-cra")
    rules = {name: InputRule(100 * MS) for name in spec_file.spec.inputs}
    settings = Settings(50 * MS, 1, rules, CommandLimits.none(1))
    pipeline = build_pipeline(spec_file, load(spec_file), settings, {}, lambda: 0)
    pipeline.activate()
    for value, slot in zip(measured, pipeline.slots.values(), strict=True):
        slot.arrays["data"][0] = value
        slot.received(MS, MS)
    step = pipeline.step(MS)
    assert step.decision is Decision.RUN
    assert step.command is not None
    assert round(float(step.command[0]), 4) == published


@pytest.mark.parametrize("variant", ["policy_fp16_io16", "policy_fp16_io32"])
def test_half_precision(variant: str) -> None:
    """Compare the first tick only: later ticks feed back its half precision errors."""
    content = content_of("lite3-ppo")
    content["model"]["file"] = f"{variant}.onnx"
    folder = spec_beside_model("derived-lite3-fp16", content).folder
    spec_file = SpecFile(PolicySpec.model_validate(content), folder / "policy.yaml")
    signals = {
        key: array[:1] if array.ndim and len(array) == 60 else array
        for key, array in signals_of("lite3-ppo").items()
    }
    run = run_signals(spec_file, signals)
    assert run.observation.dtype == (np.float16 if "io16" in variant else np.float32)
    reference = signals["expected_observation"]
    assert np.all(np.abs(run.observation - reference) <= 1e-3 * np.maximum(1, np.abs(reference)))
    largest = float(np.abs(signals["expected_raw_action"]).max())
    assert np.all(np.abs(run.target - signals["expected_target"]) <= 0.25 * 2e-3 * largest)
