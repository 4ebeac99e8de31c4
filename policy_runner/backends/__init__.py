"""Backends: they run a model on tensors. A heavy runtime is imported only when it is chosen.

Ground: `interface`, `host_arrays`, `private_folder`, `child_process`, `comparison`, `measurements`,
`sample_inputs`; then `onnx_file` <- `remote` (a model on another machine).
Then `cuda` <- `onnxruntime` <- `tensorrt` <- `precision_check`.
Doors: `load` (load a model), `engine_process` and `engine_build` (build an engine), `doctor`.
"""
