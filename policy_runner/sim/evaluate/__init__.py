"""Judges a policy on a simulated robot, without ROS: episodes, margins and what-ifs.

Ground: `plan` (what is drawn) and `subject` (policy and robot, bound). `disturbances` acts on the
loop, `scoring` judges it, `episode` runs both. `episodes` runs many, in processes. On them:
`summary`, `requirement`, `sweep`, `what_if` and `measured`. `sensor_cdr`: messages for recordings.
Entry point: `evaluation`.
"""
