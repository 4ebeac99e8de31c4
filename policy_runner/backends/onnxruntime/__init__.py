"""ONNX Runtime: on the CPU, on CUDA, and with its TensorRT provider.

Ground: `libraries`, `session`. Doors: `load` (a model to run), `model_facts` (a file's tensors).
"""
