"""What the node publishes.

Ground: `command_messages.py` (where a value stands in a message). Doors: `command_publisher.py`
with `command_format.py`, `heartbeat.py` (`~/status`), `joint_gains.py`, `vectors.py`.
"""
