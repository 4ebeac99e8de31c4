"""The content of an ONNX file, read without any inference library.

Ground: `graph`, which reads the file's bytes. Doors: `check`, `weights`, `embedded_normalizer`.
"""
