"""One tick. Read `pipeline.py` first.

Base modules: `policy` (runs inferences) and `bind_tensors`. Other folders use two modules: `build`
makes a pipeline, `pipeline` runs it.
"""
