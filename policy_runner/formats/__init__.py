"""Importers: each module reads one foreign format into a policy spec and its statistics.

Ground: `draft`, `trainer_terms`, `trainer_yaml`, `onnx_metadata`.
Doors: `detect`, `sb3_statistics`.
"""
