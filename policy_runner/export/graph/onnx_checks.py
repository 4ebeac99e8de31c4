"""Reads an exported model back: is it what was asked for? Uses onnx, never torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from policy_runner.core.errors import Problem, Refusal

RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli",
          "Multinomial")  # fmt: skip
DROPOUT = "Dropout"


def every_node(graph: Any) -> Iterator[Any]:
    """The nodes of a graph and of its inner graphs."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from every_node(attribute.g)
            for inner in attribute.graphs:
                yield from every_node(inner)


def random_nodes(model: Any) -> list[str]:
    """Operations that draw random numbers, or a dropout that is on, each `operator 'name'`."""
    stored = {one.name: one for one in model.graph.initializer}
    found = []
    for node in every_node(model.graph):
        if node.op_type in RANDOM:
            found.append(f"{node.op_type} '{node.name}'")
        elif node.op_type == DROPOUT and len(node.input) > 2 and node.input[2]:
            mode = stored.get(node.input[2])
            off = mode is not None and not any(mode.raw_data) and not any(mode.int32_data)
            if not off and not _constant_false(model, node.input[2]):
                found.append(f"{DROPOUT} '{node.name}' with training_mode on")
    return found


def _constant_false(model: Any, name: str) -> bool:
    import onnx

    for node in every_node(model.graph):
        if node.op_type == "Constant" and name in node.output:
            for attribute in node.attribute:
                if attribute.name == "value":
                    return not bool(onnx.numpy_helper.to_array(attribute.t).any())
    return False


def computes_in_double(model: Any) -> bool:
    """Whether a weight or a constant is float64, or an operator makes float64 of something else."""
    import onnx

    double = onnx.TensorProto.DOUBLE
    stored = (one for graph in _every_graph(model.graph) for one in graph.initializer)
    sparse = (one.values for graph in _every_graph(model.graph) for one in graph.sparse_initializer)
    constants = (
        tensor
        for node in every_node(model.graph)
        for attribute in node.attribute
        for tensor in (attribute.t, attribute.sparse_tensor.values, *attribute.tensors)
    )
    return any(one.data_type == double for one in (*stored, *sparse, *constants)) or any(
        attribute.name in ("to", "dtype") and attribute.i == double
        for node in every_node(model.graph)
        for attribute in node.attribute
    )


def _every_graph(graph: Any) -> Iterator[Any]:
    """A graph and its inner graphs."""
    yield graph
    for node in every_node(graph):
        for attribute in node.attribute:
            yield from ([attribute.g] if attribute.HasField("g") else [])
            yield from attribute.graphs


def unused_inputs(model: Any) -> list[str]:
    """Inputs of the graph from which no output can be reached."""
    makers = {name: node for node in model.graph.node for name in node.output if name}
    seen: set[str] = set()
    waiting = [one.name for one in model.graph.output]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in makers:
            waiting += list(makers[name].input)
            for attribute in makers[name].attribute:
                graphs = [attribute.g] if attribute.HasField("g") else []
                for inner in (*graphs, *attribute.graphs):
                    waiting += [one for node in every_node(inner) for one in node.input]
                    waiting += [one.name for one in inner.output]
    return [one.name for one in model.graph.input if one.name not in seen]


def dimensions(value: Any) -> list[int | str]:
    """The sizes of an input or output; the name of one that is open."""
    return [
        one.dim_value if one.HasField("dim_value") else one.dim_param
        for one in value.type.tensor_type.shape.dim
    ]


def opset_of(model: Any) -> int:
    """The version of ONNX's own operators."""
    return next(int(one.version) for one in model.opset_import if one.domain in ("", "ai.onnx"))


def check_onnx(
    model: Any,
    where: str,
    opset: int,
    inputs: Sequence[str],
    outputs: Sequence[str],
    batch: str | None = None,
    stored: bytes | str | None = None,
) -> None:
    """Refuse a model that is not what was asked for.

    Args:
        batch: name of the open batch axis; None: every size is fixed.
        stored: what the full checker reads; None: `model` itself.

    Raises:
        Refusal: every problem, with its name.
    """  # fmt: skip
    import onnx

    problems: list[Problem | str] = []
    got = opset_of(model)
    if got != opset:
        problems.append(Problem(
            where, "opset", f"{opset}, as asked", f"{got}",
            "the exporter could not convert it: ask for the opset that it gives",
        ))  # fmt: skip
    foreign = sorted({n.domain for n in every_node(model.graph)} - {"", "ai.onnx"})
    if foreign:
        expected = "operators of ONNX alone"
        problems.append(Problem(where, "operators", expected, ", ".join(foreign)))
    for key, wanted, values in (
        ("inputs", inputs, model.graph.input),
        ("outputs", outputs, model.graph.output),
    ):
        names = [one.name for one in values]
        lost = [name for name in wanted if name not in names]
        if lost and key == "inputs":
            problems += [_unused(where, name) for name in lost]
        elif names != list(wanted):
            problems.append(Problem(where, key, ", ".join(wanted), ", ".join(names) or "none"))
    problems += [_unused(where, name) for name in unused_inputs(model)]
    for node in random_nodes(model):
        expected = "a network that answers the same twice"
        problems.append(Problem(where, "operators", expected, node))
    problems += _open_sizes(model, where, batch)
    try:
        onnx.checker.check_model(model if stored is None else stored, full_check=True)
    except Exception as error:  # noqa: BLE001 - the checker raises types of its own
        text = " ".join(str(error).split())[:300]
        problems.append(Problem(where, "checker", "a valid ONNX graph", text))
    if problems:
        raise Refusal(list(dict.fromkeys(problems)))


def _unused(where: str, name: str) -> Problem:
    return Problem(
        where, f"input '{name}'", "an input that the outputs depend on", "one that nothing uses",
        "leave it out of the module's forward and of --input",
    )  # fmt: skip


def _open_sizes(model: Any, where: str, batch: str | None) -> list[Problem | str]:
    found: list[Problem | str] = []
    for role, values in (("input", model.graph.input), ("output", model.graph.output)):
        for value in values:
            sizes = dimensions(value)
            free = [one for one in sizes if isinstance(one, str)]
            key = f"{role} '{value.name}'"
            if batch is None and free:
                expected = "sizes that are fixed"
                remedy = "its shape must not depend on the data"
                found.append(Problem(where, key, expected, f"{sizes}", remedy))
            elif batch is not None and free != [batch]:
                expected = f"one open size, '{batch}'"
                remedy = "the network's code fixes the batch: use shape[0] or -1"
                found.append(Problem(where, key, expected, f"{sizes}", remedy))
    return found
