"""ONNX Runtime: on the CPU, on CUDA, and with its TensorRT provider.

Ground: `libraries`, `session`. Doors: `load` (load a model), `model_facts` (a file's tensors).
"""
