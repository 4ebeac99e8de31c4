"""Finds in a graph how states are wired, which nodes are random, and which inputs nothing reads.

Recurrent nodes tell which output belongs to which input: ONNX gives LSTM, GRU and RNN the inputs
initial_h (5) and initial_c (6), and the outputs Y_h (1) and Y_c (2). Between them and the model's
tensors are only nodes that move numbers, such as Slice and Concat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from policy_runner.backends.onnx_file.graph import RECURRENT, Graph, Node

# Nodes whose output has the numbers of their first input (of all inputs: Concat), moved.
MOVES = {
    *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Gather"),
    *("Split", "Concat", "Cast", "Expand"),
}
RANDOM = {
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli"),
    "Multinomial",
}
WEIGHTS = {"Gemm", "MatMul", "Conv", "Einsum", "MatMulInteger", "QLinearMatMul", *RECURRENT}
_STATES = ((5, 1), (6, 2))


def recurrent_pairs(graph: Graph) -> list[tuple[str, str]]:
    """Return (input, output) of each state that recurrent nodes carry, each once, in order.

    A state with two outputs, or without one, is left out.
    """
    made_by, users = _made_by(graph), _users(graph)
    found: dict[str, set[str]] = {}
    for node in graph.nodes:
        if node.operator not in RECURRENT:
            continue
        for given, made in _STATES:
            if len(node.inputs) <= given or len(node.outputs) <= made:
                continue
            sources = _sources(node.inputs[given], graph, made_by)
            targets = _targets(node.outputs[made], graph, users)
            if len(sources) == 1 and len(targets) == 1:
                found.setdefault(sources.pop(), set()).update(targets)
    pairs = [(name, found[name].pop()) for name in graph.inputs if len(found.get(name, ())) == 1]
    taken = [output for _, output in pairs]
    return [(name, output) for name, output in pairs if taken.count(output) == 1]


def _made_by(graph: Graph) -> dict[str, Node]:
    return {output: node for node in graph.nodes for output in node.outputs if output}


def _users(graph: Graph) -> dict[str, list[Node]]:
    users: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            users.setdefault(name, []).append(node)
    return users


def _walk(start: Iterable[str], follow: Callable[[str], Iterable[str]]) -> Iterator[str]:
    """Yield every name that can be reached, each once."""
    seen, waiting = set(), list(start)
    while waiting:
        name = waiting.pop()
        if name and name not in seen:
            seen.add(name)
            yield name
            waiting += follow(name)


def _sources(name: str, graph: Graph, made_by: dict[str, Node]) -> set[str]:
    def before(one: str) -> Iterable[str]:
        node = made_by.get(one)
        if node is None or node.operator not in MOVES:
            return ()
        return node.inputs if node.operator == "Concat" else node.inputs[:1]

    return {one for one in _walk([name], before) if one in graph.inputs}


def _targets(name: str, graph: Graph, users: dict[str, list[Node]]) -> set[str]:
    def after(one: str) -> Iterable[str]:
        return [
            output
            for node in users.get(one, [])
            if node.operator in MOVES and (node.operator == "Concat" or node.inputs[0] == one)
            for output in node.outputs
        ]

    return {one for one in _walk([name], after) if one in graph.outputs}


def unread_inputs(graph: Graph) -> list[str]:
    """Return the model's inputs that no node reads, in the order of the file."""
    read = {name for node in graph.nodes for name in node.inputs} | set(graph.outputs)
    return [name for name in graph.inputs if name not in read] if graph.nodes else []


def untouched_inputs(graph: Graph) -> list[str]:
    """Return the inputs that reach weights through nodes that only move numbers.

    Such an input has no normalizer in the model, unless the exporter folded it into the weights.
    """
    users = _users(graph)

    def after(one: str) -> Iterable[str]:
        return [output for node in users.get(one, []) if node.operator in MOVES
                for output in node.outputs]  # fmt: skip

    found = []
    for name in graph.inputs:
        operators = {node.operator for one in _walk([name], after) for node in users.get(one, [])}
        if operators & WEIGHTS and operators <= WEIGHTS | MOVES | {"Shape", "Size"}:
            found.append(name)
    return found


def suspicious_nodes(graph: Graph) -> list[str]:
    """Return one sentence for each node on the way to an output that is often a mistake."""
    made_by = _made_by(graph)

    def before(one: str) -> Iterable[str]:
        return made_by[one].inputs if one in made_by else ()

    used = {made_by[one] for one in _walk(graph.outputs, before) if one in made_by}
    # Nodes of inner graphs (If, Loop) have no path by name to the outputs of the outer graph.
    if any(node.operator in ("If", "Loop", "Scan") for node in graph.nodes):
        used = set(graph.nodes)
    found = []
    for node in graph.nodes:
        if node not in used:
            continue
        label = f"{node.operator} '{node.name or ', '.join(node.outputs[:1])}'"
        if node.operator in RANDOM:
            found.append(
                f"{label} draws random numbers at every inference: the same observation gives "
                "other actions"
            )
        elif node.operator == "Dropout" and _trains(node, graph):
            found.append(
                f"{label} is in training mode and drops numbers at random: export the model in "
                "evaluation mode"
            )
        elif node.operator == "GRU" and _lost_reset(node, graph):
            found.append(
                f"{label} has linear_before_reset 0, and PyTorch's GRU computes it with 1: "
                "compare its outputs with the trainer's"
            )
    return found


def _lost_reset(node: Node, graph: Graph) -> bool:
    # torch.nn.GRU multiplies by the reset gate after the linear part. PyTorch's exporter writes
    # linear_before_reset=1 for it; a graph of PyTorch without it computes another function.
    return graph.producer == "pytorch" and not node.numbers.get("linear_before_reset", 0)


def _trains(node: Node, graph: Graph) -> bool:
    if len(node.inputs) > 2 and node.inputs[2]:
        return node.inputs[2] in graph.true or node.inputs[2] in graph.inputs
    # Before opset 7 the attribute is_test says it; its default is training.
    return graph.opset < 7 and not node.numbers.get("is_test", 0)
