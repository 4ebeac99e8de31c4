"""`replay` of a policy with chunks: it repeats, keeps the chunks, and draws them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_rig import load, save
from lane_policy import PIXELS, STEPS, write_policy

from policy_runner.cli.main import main

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the model")

SAMPLES, PERIOD_S, LATENCY_S = 25, 0.02, 0.03


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy of chunks, its signals, and parameters with a latency."""
    folder = write_policy(tmp_path_factory.mktemp("chunks"))
    rng = np.random.default_rng(2)
    save(
        folder / "given.npz",
        {
            "control_dt": np.array(PERIOD_S),
            "joints/name": np.array(["b", "a"]),
            "joints/position": rng.normal(size=(SAMPLES, 2)),
            "scan/ranges": rng.uniform(1.0, 2.0, (SAMPLES, 5)),
            "camera/data": rng.integers(0, 256, (SAMPLES, *PIXELS, 3), dtype=np.uint8),
        },
    )
    (folder / "robot.yaml").write_text(
        f"policy_runner: {{ros__parameters: {{inference: {{simulated_latency: {LATENCY_S}}}}}}}\n"
    )
    return folder


def replay(folder: Path, *options: str) -> int:
    params = ["--params", str(folder / "robot.yaml")]
    return main(["replay", str(folder), str(folder / "given.npz"), *params, *options])


def test_chunks_are_kept_and_repeat(folder: Path, tmp_path: Path, capsys: Any) -> None:
    assert replay(folder, "-o", str(tmp_path / "one.npz")) == 0
    assert replay(folder, "-o", str(tmp_path / "two.npz")) == 0
    assert "STARTING 2" in capsys.readouterr().out
    one, two = load(tmp_path / "one.npz"), load(tmp_path / "two.npz")
    assert one.keys() == two.keys()
    assert all(one[key].tobytes() == two[key].tobytes() for key in one)
    # 30 ms are two ticks: every second tick has a result, of the observation 40 ms before.
    assert one["chunk/actions"].shape[1:] == (STEPS, 2)
    assert np.allclose(np.diff(one["chunk/arrived"]), 2 * PERIOD_S)
    assert np.allclose(one["chunk/arrived"] - one["chunk/observed"], 2 * PERIOD_S)
    assert float(one["chunk/dt"]) == PERIOD_S


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib is not installed")
def test_the_plot_has_the_chunks_and_the_seams(folder: Path, tmp_path: Path) -> None:
    from matplotlib.axes import Axes

    lines: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("plot", "axvline"):
            drawn = getattr(Axes, name)

            def draw(self: Any, *what: Any, of: Any = drawn, **how: Any) -> Any:
                lines.append(how)
                return of(self, *what, **how)

            patch.setattr(Axes, name, draw)
        output = tmp_path / "o.npz"
        assert replay(folder, "--plot", str(tmp_path / "p.png"), "-o", str(output)) == 0
    count = len(load(output)["chunk/arrived"])
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"
    assert sum(one.get("linewidth") == 0.5 for one in lines) == 2 * count  # two joints
    assert sum(one.get("linestyle") == ":" for one in lines) == count
