"""`policy-runner build-engine`: build a policy's TensorRT engine on this machine, and keep it."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from policy_runner.backends.engine_process import EngineBuild
from policy_runner.backends.interface import BackendChoice
from policy_runner.cli.backend_options import add_choice_options, choice_from
from policy_runner.core.errors import Refusal
from policy_runner.core.spec import read_spec

_SAY_EVERY_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """SPEC, what runs the model, --anew."""
    parser.add_argument("spec", type=Path, metavar="SPEC", help="policy.yaml or its folder")
    add_choice_options(parser)
    parser.add_argument("--anew", action="store_true", help="build although there is an engine")


def run(arguments: argparse.Namespace) -> int:
    """0 when the engine is there; Ctrl-C ends the build and leaves nothing behind."""
    spec_file = read_spec(arguments.spec)
    choice = replace(choice_from(arguments, spec_file), backend="tensorrt")
    choice.check()
    console = Console(stderr=True, highlight=False, soft_wrap=True, log_path=False)
    begun = time.time()
    result = build_in_child(choice, spec_file.path, console, arguments.anew)
    facts = result["facts"]
    found = facts.get("check") or {}
    there = float(facts.get("built", begun)) < begun
    took = f"took {float(facts.get('seconds', 0.0)):.1f} s"
    state = f"was there already ({took})" if there else took
    print(f"{result['path']}: {size_text(result['size'])}, {state}")
    if found:
        print(
            f"actions differ from fp32 on the CPU by at most {found['largest']:.3g} at "
            f"{found['element']} ({found['samples']} {found['observations']} observations)"
        )
    return 0


def size_text(size: int) -> str:
    """A file's size [B] as a person reads it."""
    return f"{size / 1e3:.0f} kB" if size < 1_000_000 else f"{size / 1e6:.1f} MB"


def build_in_child(
    choice: BackendChoice, spec_path: Path, console: Console, anew: bool = False
) -> dict[str, Any]:
    """Build, with progress on the console; the path, size and facts of the engine.

    Raises:
        Refusal: why there is none.
    """
    build = EngineBuild(choice, spec_path, lambda line: console.log(line, markup=False), anew)
    try:
        _watch(build, console)
    except KeyboardInterrupt:
        build.cancel()
        raise Refusal(["ended by Ctrl-C; nothing was kept"]) from None
    finally:
        build.cancel()
    if build.problems:
        raise Refusal(build.problems)
    return build.result


def _watch(build: EngineBuild, console: Console) -> None:
    said_s = 0.0
    with console.status(build.text()) as status:
        while not build.poll():
            if console.is_terminal:
                status.update(build.text())
            elif build.seconds - said_s > _SAY_EVERY_S:  # into a file or a log
                said_s = build.seconds
                console.log(build.text(), markup=False)
            time.sleep(0.05)
