"""Foreign artefacts read into the policy spec and its statistics, one small module each.

Ground: `draft`, `trainer_terms`, `trainer_yaml`, `onnx_metadata`.
Doors: `detect`, `sb3_statistics`.
"""
