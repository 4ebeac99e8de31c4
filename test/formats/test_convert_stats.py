"""A process that only knows arrays converts VecNormalize pickles to .npz."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_runner.cli.main import main
from policy_runner.core.files.arrays import read_statistics

MEAN = np.array([0.5, -2.0, 3.25])
VAR = np.array([1.0, 0.25, 1e-6])


def _stand_in(monkeypatch: pytest.MonkeyPatch, module: str, name: str) -> Any:
    """Return a class that pickles as `module.name`, like the class of Stable-Baselines3."""
    parts = module.split(".")
    for k in range(1, len(parts) + 1):
        monkeypatch.setitem(sys.modules, ".".join(parts[:k]), types.ModuleType(".".join(parts[:k])))
    made = type(name, (), {"__module__": module})
    setattr(sys.modules[module], name, made)
    return made


def _write(path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int = 4, **state: Any) -> Path:
    with monkeypatch.context() as patch:
        rms_class = _stand_in(patch, "stable_baselines3.common.running_mean_std", "RunningMeanStd")
        box = _stand_in(patch, "gymnasium.spaces.box", "Box")()
        box.__dict__.update(
            low=np.full(3, -1.0), dtype=np.dtype("f4"), rng=np.random.default_rng(0)
        )

        def rms(mean: Any, var: Any) -> Any:
            one = rms_class()
            one.__dict__.update(mean=mean, var=var, count=1e4, epsilon=1e-4)
            return one

        normalizer = _stand_in(
            patch, "stable_baselines3.common.vec_env.vec_normalize", "VecNormalize"
        )()
        given = {"obs_rms": rms(MEAN, VAR), "norm_obs": True, "epsilon": 1e-8, "clip_obs": 10.0}
        if "dictionary" in state:
            given["obs_rms"] = {key: rms(*two) for key, two in state.pop("dictionary").items()}
        if "statistics" in state:
            given["obs_rms"] = rms(*state.pop("statistics"))
        normalizer.__dict__.update({**given, "observation_space": box, **state})
        path.write_bytes(pickle.dumps(normalizer, protocol=protocol))
    assert "stable_baselines3" not in sys.modules
    return path


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_the_numbers_of_a_pickle_become_an_npz(
    protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    path = _write(tmp_path / "vecnormalize.pkl", monkeypatch, protocol)
    out = tmp_path / "statistics.npz"
    assert main(["convert", "stats", str(path), "-o", str(out)]) == 0
    found = read_statistics(out)
    assert sorted(found) == ["mean", "var"]
    assert np.array_equal(found["mean"], MEAN)
    assert np.array_equal(found["var"], VAR)
    said = capsys.readouterr().out
    assert "normalization: {preset: sb3, statistics: statistics.npz}" in said


def test_other_constants_are_said_for_the_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    path = _write(tmp_path / "v.pkl", monkeypatch, epsilon=1e-5, clip_obs=5.0)
    assert main(["convert", "stats", str(path), "-o", str(tmp_path / "s.npz")]) == 0
    assert "eps: 1e-05, clip: [-5.0, 5.0]" in capsys.readouterr().out


def test_a_dictionary_of_observations_keeps_the_keys_that_were_normalized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write(
        tmp_path / "v.pkl", monkeypatch,
        dictionary={"state": (MEAN, VAR), "image": (MEAN, VAR)}, norm_obs_keys=["state"],
    )  # fmt: skip
    out = tmp_path / "s.npz"
    assert main(["convert", "stats", str(path), "-o", str(out)]) == 0
    assert sorted(read_statistics(out)) == ["state.mean", "state.var"]
    assert np.array_equal(read_statistics(out, group=["state"])["mean"], MEAN)


class _Attack:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self._reduced = (call, arguments)

    def __reduce__(self) -> Any:
        return self._reduced


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("way", ["system", "exec", "import", "codec", "getattr"])
def test_a_hostile_pickle_does_not_run(
    way: str, inside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    import codecs
    import os

    mark = tmp_path / "it_ran"
    attack = {
        "system": _Attack(os.system, f"touch {mark}"),
        "exec": _Attack(exec, f"open({str(mark)!r}, 'w')"),
        "import": _Attack(__import__, "antigravity"),
        "codec": _Attack(codecs.encode, f"{mark}", "rot13"),
        "getattr": _Attack(getattr, "", "join"),
    }[way]
    path = tmp_path / "v.pkl"
    if inside:
        _write(path, monkeypatch, evil=attack)
    else:
        path.write_bytes(pickle.dumps(attack))
    out = tmp_path / "s.npz"
    assert main(["convert", "stats", str(path), "-o", str(out)]) == 1
    assert not mark.exists()
    assert not out.exists()
    assert "expected a pickled VecNormalize" in capsys.readouterr().err


def test_the_attack_of_this_test_would_run_in_a_plain_unpickler(tmp_path: Path) -> None:
    import os

    mark = tmp_path / "it_ran"
    pickle.loads(pickle.dumps(_Attack(os.system, f"touch {mark}")))  # noqa: S301
    assert mark.exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "EOFError"),
        (b"not a pickle", "UnpicklingError"),
        (pickle.dumps({"obs_rms": 1}), "no VecNormalize in it"),
        (pickle.dumps(np.zeros(3)), "no VecNormalize in it"),
    ],
)
def test_what_is_no_normalizer_is_refused(
    content: bytes, sentence: str, tmp_path: Path, capsys: Any
) -> None:
    path = tmp_path / "v.pkl"
    path.write_bytes(content)
    assert main(["convert", "stats", str(path), "-o", str(tmp_path / "s.npz")]) == 1
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mean", "var", "sentence"),
    [
        (MEAN, np.array([1.0, np.nan, 1.0]), "var: expected finite numbers"),
        (MEAN, np.array([1.0, -1.0, 1.0]), "var: expected 0 or more, got -1"),
        (MEAN.reshape(1, 3), VAR, "mean: expected one number per observation, got shape (1, 3)"),
    ],
)
def test_unusable_numbers_are_refused(
    mean: Any, var: Any, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    path = _write(tmp_path / "v.pkl", monkeypatch, statistics=(mean, var))
    assert main(["convert", "stats", str(path), "-o", str(tmp_path / "s.npz")]) == 1
    assert sentence in capsys.readouterr().err


def test_statistics_that_were_not_used_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    path = _write(tmp_path / "v.pkl", monkeypatch, norm_obs=False)
    assert main(["convert", "stats", str(path), "-o", str(tmp_path / "s.npz")]) == 1
    assert "norm_obs is false" in capsys.readouterr().err
