"""Trained networks to policy folders: export, verification, optimization, statistics.

An extra for the trainer's machine (`[export]`); a robot needs nothing of it. torch, onnx and the
trainers' packages are imported inside functions only.

Ground: `running_normalizer`, `sources/`, `graph/`, `folder`. Doors: `policy_export`, `verify/`,
`optimize/`.
"""
