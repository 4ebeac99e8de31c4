"""Processes that measure the node.

Ground: `recorder.py`. Doors: `runner.py`, the node with its ticks recorded, and `publisher.py`,
its robot.
"""
