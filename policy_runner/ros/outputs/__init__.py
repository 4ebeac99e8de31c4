"""Outputs of the node: commands, heartbeat, gains and vectors.

Base: `command_messages.py` (the place of each value in a message). Entry points:
`command_publisher.py` with `command_format.py`, `heartbeat.py` (`~/status`), `joint_gains.py`,
`vectors.py`.
"""
