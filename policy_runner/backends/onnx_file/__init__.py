"""Reads ONNX files without an inference library.

Ground: `graph`, which reads the file's bytes. Doors: `check`, `weights`, `embedded_normalizer`.
"""
