"""One tick. Read `pipeline.py` first."""
