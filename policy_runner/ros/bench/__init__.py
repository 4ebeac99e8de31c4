"""Processes that measure the node.

Ground: `recorder.py`. Doors: `runner.py`, the node with a record of its ticks, and `publisher.py`,
which stands in for the robot.
"""
