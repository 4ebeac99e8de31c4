"""What the node hears: polled by the control thread.

Ground: `polling.py` (subscriptions without an executor) and `graph.py` (who can hear whom).
Doors: `estop.py`, `robot_description.py`, and `live_check.py` for `policy-runner check --live`.
"""
