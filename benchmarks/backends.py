#!/usr/bin/env python3
"""Measures all installed backends on an MLP, an LSTM and a small CNN, at 50 and 500 Hz.

    python benchmarks/backends.py [--seconds 20] [--only mlp]

Prints the table of docs/explanation/performance.md: the time of one inference [us], at periodic
deadlines. The weights are random, because their values do not change the time of an inference.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from policy_runner.backends.interface import BackendChoice
from policy_runner.cli.bench.backends import Row, measure, names_of, priority, subject
from policy_runner.cli.bench.machine import machine

RANDOM = np.random.default_rng(5)
HEADS = ("backend", "model", "rate [Hz]", "p50", "p99", "p99.9", "max", "back to back p50")


class Graph:
    """Builds a model from nodes and weights, in order; `last` is the newest output."""

    def __init__(self, name: str, **inputs: list[int]) -> None:
        self.name, self.nodes, self.weights, self.count = name, [], [], 0
        self.inputs = [_value(key, shape) for key, shape in inputs.items()]
        self.last = next(iter(inputs))

    def weight(self, *shape: int) -> str:
        """Store random weights, scaled so that activations keep their size; returns the name."""
        values = RANDOM.normal(size=shape) / np.sqrt(np.prod(shape[1:]) or 1)
        return self.store(values.astype(np.float32))

    def store(self, values: np.ndarray) -> str:
        """Store a tensor; returns its name."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def add(self, operator: str, *more: str, outputs: int = 1, **attributes: object) -> list[str]:
        """Add a node whose first input is the newest output; returns its outputs' names."""
        self.count += 1
        names = [f"t{self.count}_{k}" for k in range(outputs)]
        node = helper.make_node(operator, [self.last, *more], names, **attributes)
        self.nodes.append(node)
        self.last = names[0]
        return names

    def dense(self, size: int, to: int, activation: str = "Elu") -> None:
        """Add a dense layer with `size` inputs and `to` outputs."""
        self.add("Gemm", self.weight(to, size), self.weight(to), transB=1)
        if activation:
            self.add(activation)

    def model(self, **outputs: tuple[str, list[int]]) -> ModelProto:
        """Return the checked model; `outputs` are (tensor, shape) by output name."""
        ends = []
        for name, (tensor, shape) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [tensor], [name]))
            ends.append(_value(name, shape))
        graph = helper.make_graph(self.nodes, self.name, self.inputs, ends, self.weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(made)
        return made


def _value(name: str, shape: list[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def mlp() -> ModelProto:
    """An MLP 48-512-256-128-12 with ELU, as in most policies for quadrupeds."""
    graph = Graph("mlp", obs=[1, 48])
    for size, to in ((48, 512), (512, 256), (256, 128)):
        graph.dense(size, to)
    graph.dense(128, 12, "")
    return graph.model(actions=(graph.last, [1, 12]))


def lstm() -> ModelProto:
    """An LSTM 48-256 whose state is an input and output of the model, then 256-128-12."""
    graph = Graph("lstm", obs=[1, 48], h_in=[1, 1, 256], c_in=[1, 1, 256])
    graph.add("Unsqueeze", graph.store(np.array([0])))
    weights = graph.weight(1, 1024, 48), graph.weight(1, 1024, 256), graph.weight(1, 2048)
    _, h, c = graph.add("LSTM", *weights, "", "h_in", "c_in", outputs=3, hidden_size=256)
    graph.last = h
    graph.add("Squeeze", graph.store(np.array([0])))
    graph.dense(256, 128)
    graph.dense(128, 12, "")
    state = [1, 1, 256]
    return graph.model(actions=(graph.last, [1, 12]), h_out=(h, state), c_out=(c, state))


def cnn() -> ModelProto:
    """A CNN for a 3 x 96 x 96 image: 32, 64 and 64 kernels, then dense layers 512 and 2."""
    graph = Graph("cnn", image=[1, 3, 96, 96])
    for channels, kernels, size, stride in ((3, 32, 8, 4), (32, 64, 4, 2), (64, 64, 3, 1)):
        weights = graph.weight(kernels, channels, size, size), graph.weight(kernels)
        graph.add("Conv", *weights, strides=[stride, stride])
        graph.add("Relu")
    graph.add("Flatten")
    graph.dense(64 * 8 * 8, 512, "Relu")
    graph.dense(512, 2, "")
    return graph.model(actions=(graph.last, [1, 2]))


MODELS: dict[str, Callable[[], ModelProto]] = {"mlp": mlp, "lstm": lstm, "cnn": cnn}


def line(name: str, row: Row) -> str:
    """Return one line of the table."""
    figures = [f"{value:.0f}" for value in row.us.values()]
    return "| " + " | ".join((row.name, name, f"{row.rate:g}", *figures)) + " |"


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="per backend and rate")
    parser.add_argument("--only", choices=tuple(MODELS), nargs="+", default=list(MODELS))
    parser.add_argument("--backends", default="all")
    parser.add_argument("--priority", type=int, default=80)
    options = parser.parse_args()
    refused: dict[str, str] = {}
    lines = []
    with tempfile.TemporaryDirectory() as folder, priority(options.priority) as granted:
        for name in options.only:
            path = Path(folder) / f"{name}.onnx"
            onnx.save(MODELS[name](), path)
            names = names_of(options.backends)
            for row in measure(subject(path, None), names, BackendChoice(), options.seconds):
                if row.us:
                    lines.append(line(name, row))
                else:
                    refused[row.name] = row.refused
    facts = {**machine(), "priority": granted}
    say = sys.stdout.write
    say(", ".join(f"{key} {value}" for key, value in facts.items()) + "\n\n")
    say("| " + " | ".join(HEADS) + " |\n" + "|---" * len(HEADS) + "|\n")
    say("\n".join(lines) + "\n\n")
    for name, text in refused.items():
        say(f"not here: {name}: {text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
