"""One tick. Read `pipeline.py` first.

Ground: `policy` (what infers) and `bind_tensors`. Doors: `build` makes a pipeline, `pipeline` runs.
"""
