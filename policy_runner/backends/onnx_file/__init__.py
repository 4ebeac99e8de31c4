"""What an ONNX file contains, read without any inference library."""
