"""Compute the command of a tick from the action of the model.

`decoder` computes targets from outputs. `start_pose` is based on `command`. The pipeline and the
node import each file directly.
"""
