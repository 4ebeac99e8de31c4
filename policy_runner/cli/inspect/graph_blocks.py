"""Groups the operators of a network to blocks that a person can look at.

Operators in a row become one block. A block is a normalizer, an encoder, a head, or a part in
between; numbers that depend on no input (shapes, constants) are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from policy_runner.backends.onnx_file.graph import Graph, Node, first_arithmetic
from policy_runner.core.model import ModelFacts

INPUT, OUTPUT, NORMALIZER, ENCODER, HEAD, PART = (
    "input", "output", "normalizer", "encoder", "head", "part",
)  # fmt: skip
# Their stored numbers are sizes, axes and positions.
SHAPING = {"Reshape", "Gather", "Slice", "Unsqueeze", "Squeeze", "Expand", "Tile", "Pad", "Split",
           "ReduceMean", "ReduceSum", "ReduceMax"}  # fmt: skip
ENCODERS = {"Conv", "ConvTranspose", "LSTM", "GRU", "RNN", "Attention", "MultiHeadAttention"}


@dataclass
class Block:
    """Operators in a row.

    Attributes:
        kind: input, output, normalizer, encoder, head or part.
        title: of an input or output its name, else the operators.
        text: the shape, or the number of parameters.
        after: the blocks that feed it, by their position.
    """

    kind: str
    title: str
    text: str = ""
    after: list[int] = field(default_factory=list)


def blocks_of(graph: Graph, model: ModelFacts) -> list[Block]:
    """Every block, each after those that feed it: inputs first, outputs last."""
    alive = _reached(graph)
    makers = {name: k for k, node in enumerate(alive) for name in node.outputs if name}
    inputs = set(graph.inputs)
    before = [sorted({makers[name] for name in node.inputs if name in makers}) for node in alive]
    users: dict[int, set[int]] = {}
    for k, makers_of in enumerate(before):
        for maker in makers_of:
            users.setdefault(maker, set()).add(k)
    normalizing = _normalizers(alive, graph)
    given = {one.name for one in model.outputs}
    group: list[int] = []
    members: list[list[int]] = []
    for k, node in enumerate(alive):
        fed = any(name in inputs for name in node.inputs)
        single = before[k][0] if len(before[k]) == 1 and not fed else None
        joins = (
            single is not None
            and users[single] == {k}
            and not given & set(alive[single].outputs)
            and (single in normalizing) == (k in normalizing)
        )
        if joins and single is not None:
            group.append(group[single])
            members[group[k]].append(k)
        else:
            group.append(len(members))
            members.append([k])
    blocks = [Block(INPUT, one.name, _shape(one.shape)) for one in model.inputs]
    first = len(blocks)
    place = {one.name: k for k, one in enumerate(model.inputs)}
    for own in members:
        nodes = [alive[k] for k in own]
        kind = _kind(nodes, own[0] in normalizing, given)
        after = {place[n] for node in nodes for n in node.inputs if n in place}
        after |= {first + group[one] for k in own for one in before[k]}
        after.discard(len(blocks))
        text = _parameters(nodes, graph)
        blocks.append(Block(kind, _operators(nodes), text, sorted(after)))
    for tensor in model.outputs:
        source = makers.get(tensor.name)
        before_output = [first + group[source]] if source is not None else []
        if tensor.name in place:
            before_output = [place[tensor.name]]
        blocks.append(Block(OUTPUT, tensor.name, _shape(tensor.shape), before_output))
    return blocks


def _reached(graph: Graph) -> list[Node]:
    """The nodes that depend on an input, in the file's order, which is topological."""
    known = set(graph.inputs)
    found = []
    for node in graph.nodes:
        if known & set(node.inputs):
            known |= {name for name in node.outputs if name}
            found.append(node)
    return found


def _normalizers(nodes: list[Node], graph: Graph) -> set[int]:
    """Positions of the operators that begin an input with stored vectors."""
    found: set[int] = set()
    for name, operators in first_arithmetic(graph).items():
        for _ in operators:
            k = next((k for k, node in enumerate(nodes) if name in node.inputs), None)
            if k is None:
                break
            found.add(k)
            name = nodes[k].outputs[0]
    return found


def _kind(nodes: list[Node], normalizing: bool, given: set[str]) -> str:
    if normalizing:
        return NORMALIZER
    if any(node.operator in ENCODERS for node in nodes):
        return ENCODER
    if any(given & set(node.outputs) for node in nodes):
        return HEAD
    return PART


def _operators(nodes: Iterable[Node]) -> str:
    """`Gemm, Elu, Gemm`; of many the first and how many follow."""
    names = [node.operator for node in nodes]
    shown = ", ".join(names[:4])
    return f"{shown} + {len(names) - 4}" if len(names) > 4 else shown


def _parameters(nodes: Iterable[Node], graph: Graph) -> str:
    stored: Mapping[str, int] = graph.stored
    learnt = [node for node in nodes if node.operator not in SHAPING]
    count = sum({name: stored.get(name, 0) for node in learnt for name in node.inputs}.values())
    if not count:
        return ""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit} parameters"
    return f"{count} parameters"


def _shape(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("?" if one is None else str(one) for one in shape) + "]"
