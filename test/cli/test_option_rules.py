"""Options that a command would ignore are refused: they mean something only with another one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_rig import write_policy

from policy_runner.cli.main import main, make_parser
from policy_runner.package_files import share_path

BALANCER = str(share_path("models", "balancer"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("check P --wait 2", "--wait: expected --live with it, got --wait 2.0"),
        ("check P --topic a=b", "--topic: expected --live with it, got --topic a=b"),
        ("check P --name walker", "--name: expected --params or --live with it, got --name walker"),
        ("check P --namespace lab", "--namespace: expected --params or --live with it"),
        ("replay P x.npz --name walker", "--name: expected --params or a recording with it"),
        ("replay P x.npz --atol 1e-3", "--atol: expected --reference with it, got --atol 0.001"),
        ("evaluate P --robot balancer --shown-episode 3", "expected --frames or --record with it"),
        ("evaluate P --robot balancer --measured x.mcap", "--measured: expected --sweep with it"),
        ("inspect m.onnx --params x.yaml", "--params: expected a policy.yaml or its folder with"),
        ("optimize P --seeds 2", "expected --closed-loop, --robot or --calibration closed-loop"),
        ("optimize P --force", "--force: expected -o with it, got --force"),
        ("verify P --against m.zip --seeds 2", "--seeds: expected --closed-loop or --robot with"),
        ("verify P --against r.npz --recorded s.npz", "expected not with --against FILE.npz, got"),
        ("verify P --against r.npz --activation elu", "--activation: expected not with --against"),
        ("export m.zip -o D --triton-backend python", "--triton-backend: expected --as triton"),
        ("export m.zip -o D --model-version 2", "--model-version: expected --as triton with it"),
        ("export P -o D --as triton --input obs=1x2", "--input: expected not with --as triton"),
        ("export P -o D --as triton --opset 19", "--opset: expected not with --as triton"),
        ("export m.zip -o D --preset sb3", "--preset: expected --normalizer with it"),
        ("sim P --robot r.yaml --out r2.yaml", "--out: expected --draft with it"),
        ("sim P --draft m.xml", "SPEC: expected not with --draft, got SPEC P"),
        ("sim --draft m.xml --seed 3 --viewer", "--viewer: expected not with --draft, got --view"),
        ("sim P --robot r --no-command --command 1,0,0", "--command: expected not with --no-com"),
        ("convert motion m.csv -o m.npz --rows 9", "--rows: expected an .onnx with it"),
        (
            "convert motion m.csv -o m.npz --joints a --control-dt 1 --spec S",
            "--spec: expected not",
        ),
        ("convert motion m.onnx -o m.npz --base hip", "--base: expected a .csv or --chains with"),
    ],
)
def test_an_option_without_its_other_one_is_refused(
    words: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "verify P --against m.zip --robot balancer --seeds 0",
        "optimize P --robot balancer --seconds -1",
        "bench compare P --against m.zip --rounds 0",
        "bench operators P --runs 0",
        "bench backends P --rates 0",
        "bench node P --seconds nan",
        "engine remove --unused-for -1",
        "sim P --robot r.yaml --command-delay -0.1",
        "check P --live --wait inf",
        "replay P x.npz --reference r.npz --atol nan",
        "replay P x.npz --reference r.npz --rtol inf",
    ],
)
def test_a_number_out_of_its_range_is_a_wrong_command_line(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    assert "expected " in capsys.readouterr().err


def test_the_closed_loop_of_the_balancer_takes_its_policy_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(write_policy(tmp_path / "toy"))
    for words in (["--calibration", "closed-loop"], ["--closed-loop", "balancer"]):
        assert main(["optimize", folder, "--variant", "fp16", *words]) == 1
        told = capsys.readouterr().err
        assert "balancer.yaml: joints: expected every joint of the policy (hip, knee" in told


def test_the_same_options_are_taken_with_it() -> None:
    for words in ("verify P --against m.zip --robot balancer --seeds 2",
                  "optimize P --calibration closed-loop --seeds 2 --seconds 5",
                  "export P -o D --as triton --triton-backend python --model-version 2",
                  "check P --live --namespace lab --name walker --topic a=b",
                  "replay P bag.mcap --name walker"):  # fmt: skip
        arguments = make_parser().parse_args(words.split())
        for rule in arguments.option_rules:
            given = {o: v for o, v in rule.defaults.items() if getattr(arguments, _name(o)) != v}
            assert rule.fits(arguments) or not given, (words, given)


def _name(option: str) -> str:
    return option.lstrip("-").replace("-", "_").lower()


def test_arrays_have_no_topics_and_observations_no_times(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = str(write_policy(tmp_path / "toy"))
    np.savez(tmp_path / "o.npz", **{"frame/obs": np.zeros((4, 13))})
    for words, told in (
        (["--topic", "joints=/x"], "--topic: expected a recording with it, got arrays"),
        (["--start", "0.1"], "--start: expected messages with times with it, got arrays"),
    ):
        assert main(["replay", policy, str(tmp_path / "o.npz"), *words]) == 1
        assert told in capsys.readouterr().err
