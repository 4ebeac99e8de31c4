"""TensorRT: engines built on this machine, cached, and run.

Ground: `module` (TensorRT itself), `engine_key`. Doors: `engine_store` (find), `builder` (build).
"""
