"""Finds in a graph the shortest way from each input to each output of the same shape.

A recurrent state goes through its cell by few nodes, mostly without weights: `h' = (1 - z) n + z h`
of a GRU, `c' = f c + i g` of an LSTM. The ways to the states of other cells are longer, pass
weights, or do not exist. So the shortest ways tell which output belongs to which input, whatever
nodes the exporter used.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence

from policy_runner.backends.onnx_file.graph import RECURRENT, Graph, Node
from policy_runner.backends.onnx_file.wiring import MOVES
from policy_runner.core.model import StatePath, TensorFacts

# Arithmetic that combines or bends numbers element by element.
_ELEMENTWISE = {
    *("Add", "Sub", "Mul", "Div", "Neg", "Tanh", "Sigmoid", "Relu", "Elu", "Clip", "Min", "Max"),
    *("Sum", "Where", "HardSigmoid", "LeakyRelu", "Softplus", "Pad", "ScatterND", "Tile"),
}
_INNER = ("If", "Loop", "Scan")
_STATES = {5: 1, 6: 2}  # initial_h -> Y_h, initial_c -> Y_c


def state_paths(
    graph: Graph, inputs: Sequence[TensorFacts], outputs: Sequence[TensorFacts]
) -> dict[tuple[str, str], StatePath]:
    """Return the shortest way of each input to each output of its shape and type.

    Pairs without a way are left out. A graph with inner graphs gives nothing: ways through them
    cannot be followed by names.

    Args:
        graph: the model's graph.
        inputs: the model's inputs.
        outputs: the model's outputs.
    """
    if any(node.operator in _INNER for node in graph.nodes):
        return {}
    users: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in dict.fromkeys(node.inputs):
            users.setdefault(name, []).append(node)
    found: dict[tuple[str, str], StatePath] = {}
    for one in inputs:
        ends = [o.name for o in outputs if (o.shape, o.dtype) == (one.shape, one.dtype)]
        if not ends or one.name not in graph.inputs:
            continue
        best = _shortest(one.name, users)
        for end in ends:
            plain, weighted = (end, False), (end, True)
            place = plain if plain in best else weighted
            if place in best:
                weights, nodes, _ = best[place]
                passed = tuple(name for name in _way(place, best) if name in graph.outputs)
                gated = plain in best and weighted in best
                found[one.name, end] = StatePath(weights, nodes, gated, passed)
    return found


_Place = tuple[str, bool]  # a tensor, and whether the way to it has weights
_Best = dict[_Place, tuple[int, int, _Place | None]]  # fewest weights and nodes, place before


def _shortest(start: str, users: dict[str, list[Node]]) -> _Best:
    best: _Best = {}
    waiting: list[tuple[int, int, str, _Place | None]] = [(0, 0, start, None)]
    while waiting:
        weights, nodes, name, before = heapq.heappop(waiting)
        place = (name, weights > 0)
        if place in best:
            continue
        best[place] = (weights, nodes, before)
        for node in users.get(name, []):
            for output, cost in _steps(node, name):
                heapq.heappush(waiting, (weights + cost, nodes + 1, output, place))
    return best


def _way(end: _Place, best: _Best) -> list[str]:
    """The tensors before the end of the shortest way to it."""
    found, place = [], best[end][2]
    while place is not None:
        found.append(place[0])
        place = best[place][2]
    return found


def _steps(node: Node, name: str) -> Iterator[tuple[str, int]]:
    """Each output of the node that the tensor reaches; 1 if weights or another rule change it."""
    if node.operator in ("Shape", "Size"):  # they have no numbers of the tensor
        return
    for k, output in enumerate(node.outputs):
        if not output:
            continue
        if node.operator in RECURRENT:
            own = any(
                given < len(node.inputs) and node.inputs[given] == name and made == k
                for given, made in _STATES.items()
            )
            yield output, 0 if own else 1
        elif node.operator in MOVES:
            # The other inputs of a Slice or a Gather are indices.
            carried = node.operator == "Concat" or node.inputs[0] == name
            yield output, 0 if carried else 1
        else:
            yield output, 0 if node.operator in _ELEMENTWISE else 1


def wired_pairs(
    paths: Mapping[tuple[str, str], StatePath], inputs: Sequence[str], outputs: Sequence[str]
) -> dict[str, str]:
    """Return input -> output for the states whose shortest ways fit each other.

    An input and an output are a pair if each has its only shortest way to the other. A pair is
    set aside before the next one is looked for. Inputs and outputs that fit several are left out.

    Args:
        paths: see `state_paths`.
        inputs: the states' inputs, of one shape and type.
        outputs: the states' outputs, of the same shape and type.
    """
    left, right = list(inputs), list(outputs)
    pairs: dict[str, str] = {}
    while True:
        forth = {one: _only([(paths.get((one, o)), o) for o in right]) for one in left}
        back = {one: _only([(paths.get((i, one)), i) for i in left]) for one in right}
        new = {i: o for i, o in forth.items() if o is not None and back[o] == i}
        if not new:
            return pairs
        pairs.update(new)
        left = [one for one in left if one not in new]
        right = [one for one in right if one not in new.values()]


def _only(ways: Sequence[tuple[StatePath | None, str]]) -> str | None:
    """The end of the shortest way, or None if there is none or several are equally short."""
    known = sorted(((way.weights, way.nodes), end) for way, end in ways if way is not None)
    if not known or (len(known) > 1 and known[0][0] == known[1][0]):
        return None
    return known[0][1]
