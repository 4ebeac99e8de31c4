"""`policy-runner demo --policy reach`: its processes, and options of the other demo."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from policy_runner.cli.demo.command import add_arguments
from policy_runner.cli.demo.reach import reach_figures, reach_rows, refuse_options
from policy_runner.core.errors import Refusal
from policy_runner.robot.load import load_policy


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(list(words))


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        (("--synchronous",), ["--synchronous: expected --policy reach, got the balancer"]),
        (
            ("--policy", "my/policy", "--synchronous"),
            ["--synchronous: expected --policy reach, got --policy my/policy"],
        ),
        (
            ("--policy", "reach", "--no-pushes", "--no-commands"),
            [
                "--no-pushes: expected the demo of the balancer, got --policy reach",
                "--no-commands: expected the demo of the balancer, got --policy reach",
            ],
        ),
    ],
)
def test_options_of_the_other_demo_are_refused(
    words: tuple[str, ...], sentences: list[str]
) -> None:
    with pytest.raises(Refusal) as caught:
        refuse_options(options(*words))
    assert str(caught.value).splitlines() == sentences


@pytest.mark.parametrize("words", [(), ("--no-pushes",), ("--policy", "reach", "--synchronous")])
def test_other_options_are_not(words: tuple[str, ...]) -> None:
    refuse_options(options(*words))


def test_both_ways_run_the_same_network_at_100_hz(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    report, rest = tmp_path / "report.json", []
    for words in ((), ("--synchronous",)):
        rows = reach_rows(options("--policy", "reach", *words, "--seed", "7"), report)
        by: dict[str, Any] = {row.node_name: row for row in rows}
        robot, runner = by["simulated_robot"].parameters, by["policy_runner"]
        assert (robot["task"], robot["seed"], robot["report"]) == ("reach", 7, str(report))
        assert robot["policy"] == runner.parameters["policy"]
        loaded = load_policy(runner.parameters["policy"], runner.params_file)
        try:
            assert loaded.pipeline.settings.period_ns == 10_000_000
            given = loaded.config.inference
            assert (given.lane, given.simulated_latency_ns) == ("process", 200_000_000)
            chunk = loaded.spec.chunk
            assert chunk is not None
            waits = runner.parameters.get("inference.start") == "at_remaining"
            assert waits == (chunk.n_action_steps == 10) == bool(words)
            assert (chunk.start == "restart") == bool(words)
            spec = loaded.spec.model_dump(exclude={"name": True, "model": {"sha256"}})
            del spec["chunk"]["n_action_steps"], spec["chunk"]["start"]
            rest.append(spec)
        finally:
            loaded.close()
    assert rest[0] == rest[1]


def test_figures_of_the_lane_are_next_to_those_of_the_arm() -> None:
    values = {"inferences": 30.0, "starved ticks": 2.0}
    watch: Any = SimpleNamespace(number=lambda _status, key: values.get(key))
    found = reach_figures({"balls": 1, "reached": 1}, watch, 6.0)
    assert (found["balls"], found["reached"], found["inference_rate_hz"]) == (1, 1, 5.0)
    assert (found["starved_ticks"], found["stops"], found["latency_p50_ms"]) == (2.0, None, None)
    assert reach_figures({}, watch, None)["inference_rate_hz"] is None


@pytest.mark.parametrize(
    ("key", "shown", "absent"),
    [
        ("distance [m]", ("reached", "stops", "0.013 m"), "upright"),
        ("upright [s]", ("RMSE",), "stops"),
    ],
)
def test_the_view_is_that_of_the_robot(key: str, shown: tuple[str, ...], absent: str) -> None:
    console_module = pytest.importorskip("rich.console")
    from policy_runner.cli.demo.view import view

    def number(_status: str, name: str) -> float | None:
        return 0.013 if name == key else None

    console = console_module.Console(width=110, record=True, file=io.StringIO())
    watch: Any = SimpleNamespace(number=number, level={}, message={})
    console.print(view(watch))
    text = console.export_text()
    assert all(word in text for word in shown), text
    assert absent not in text
    assert "period error" in text
