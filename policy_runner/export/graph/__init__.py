"""From a torch module to a checked ONNX graph.

Ground: `findings`. `probes` runs the module and refuses what an exporter would lose silently,
`torch_graph` exports, `onnx_checks` reads the result back. Door: `network_export`.
"""
