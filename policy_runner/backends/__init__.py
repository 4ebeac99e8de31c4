"""Tensors in, tensors out. A heavy runtime is imported only when it is the one chosen.

Ground: `interface`, `host_arrays`, `private_folder`, `onnx_file`, `comparison`, `measurements` and
`sample_inputs`. Then `cuda` <- `onnxruntime` <- `tensorrt` <- `precision_check`.
Doors: `load` (a model to run), `engine_process` and `engine_build` (a TensorRT engine), `doctor`.
"""
