"""A robot in MuJoCo, built from `robot.yaml`: read `plant` first.

Ground: `model_text` (reads the MJCF or URDF) and `drives` (commands to actuators). `model_edits`
makes the changes of `robot.yaml`, `readings` the sensors' numbers, `factors` the variations.
Door: `plant`.
"""
