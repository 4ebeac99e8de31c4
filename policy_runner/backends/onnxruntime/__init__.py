"""ONNX Runtime: on the CPU, on CUDA, and with its TensorRT provider."""
