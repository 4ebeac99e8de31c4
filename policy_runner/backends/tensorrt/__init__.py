"""TensorRT: builds engines on this machine, caches them, and runs them.

Ground: `module` (TensorRT's Python package), `engine_key`. Doors: `engine_store` (find an
engine), `builder` (build one).
"""
