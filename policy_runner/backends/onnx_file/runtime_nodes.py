"""Finds operators that ONNX Runtime wrote into a graph for the CPU of one machine.

The graph that ONNX Runtime saves (`optimized_model_filepath`) holds operators of its own, some
chosen for the instruction set at hand. `onnx.checker` accepts such a file. Field numbers are those
of onnx.proto: ModelProto.graph 7, GraphProto.node 1, NodeProto.op_type 4, NodeProto.domain 7.
"""

from __future__ import annotations

from pathlib import Path

from policy_runner.backends.onnx_file.graph import fields, text_field

LAYOUT_DOMAIN = "com.microsoft.nchwc"  # convolutions in blocks of the CPU's registers
OWN_DOMAIN = "com.microsoft"
# Written only by ONNX Runtime's optimizer; exporters and quantizers do not write them.
FUSED = ("FusedGemm", "FusedConv", "FusedMatMul", "ReorderInput", "ReorderOutput")


def runtime_nodes(path: Path) -> list[str]:
    """Return the operators that belong to one machine, each once, as `domain.operator`.

    Args:
        path: an ONNX file. Only its main graph is read.

    Returns:
        In the file's order; empty if there are none, or if the file cannot be followed.
    """
    found: list[str] = []
    try:
        for number, graph in fields(memoryview(path.read_bytes())):
            if number != 7 or not isinstance(graph, memoryview):
                continue
            for inner, node in fields(graph):
                if inner == 1 and isinstance(node, memoryview):
                    domain, operator = text_field(node, 7), text_field(node, 4)
                    fused = domain == OWN_DOMAIN and operator in FUSED
                    if domain == LAYOUT_DOMAIN or fused:
                        found.append(f"{domain}.{operator}")
    except (ValueError, IndexError):
        return []
    return list(dict.fromkeys(found))
