"""Options that say what a trained source does not say itself, for `export` and `verify`."""

from __future__ import annotations

import argparse
from pathlib import Path

from policy_runner.cli.command_parser import only_with
from policy_runner.export.sources.open_source import PRESETS, SourceOptions
from policy_runner.export.sources.trained_policy import parse_tensor

SOURCE_OPTIONS = (
    *("--input", "--output", "--state", "--activation", "--normalizer", "--preset"),
    *("--normalized-inside", "--keep-value", "--trust-pickle"),
)


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Add `SOURCE_OPTIONS`."""
    group = parser.add_argument_group("what the source does not say")
    group.add_argument("--input", action="append", default=[], metavar="NAME=1xN[:TYPE]",
                       help="an argument of a module's forward, in order; TYPE: float32, int64,"
                       " bool")  # fmt: skip
    group.add_argument("--output", action="append", default=[], metavar="NAME",
                       help="a result of a module, in order; default actions")  # fmt: skip
    group.add_argument("--state", action="append", default=[], metavar="INPUT:OUTPUT",
                       help="a recurrent state among them")  # fmt: skip
    group.add_argument("--activation", metavar="NAME", help="of a checkpoint, such as elu")
    group.add_argument("--normalizer", type=Path, metavar="FILE",
                       help="vecnormalize.pkl, a checkpoint (.pt, .pth), or .npz, .json or"
                       " .safetensors with mean and var or std")  # fmt: skip
    group.add_argument("--preset", choices=PRESETS, help="formula of --normalizer")
    group.add_argument("--normalized-inside", action="append", default=[], metavar="INPUT",
                       help="the module normalizes this input itself")  # fmt: skip
    group.add_argument("--keep-value", action="store_true", help="keep an SB3 policy's value head")
    group.add_argument("--trust-pickle", action="store_true",
                       help="run a source's pickle with your rights: for files that you wrote"
                       " yourself")  # fmt: skip
    only_with(parser, "--normalizer", lambda given: given.normalizer, "--preset")


def source_options(arguments: argparse.Namespace) -> SourceOptions:
    """The options as `open_source` takes them.

    Raises:
        Refusal: an --input that cannot be read.
    """
    return SourceOptions(
        inputs=[parse_tensor(one) for one in arguments.input],
        outputs=arguments.output,
        states=arguments.state,
        activation=arguments.activation,
        normalizer=arguments.normalizer,
        preset=arguments.preset,
        normalized_inside=arguments.normalized_inside,
        keep_value=arguments.keep_value,
        trust_pickle=arguments.trust_pickle,
    )
