"""Inputs of the node, polled by the control thread.

Base: `polling.py` (subscriptions without an executor) and `graph.py` (matching of publishers and
subscribers). Entry points: `estop.py`, `robot_description.py`, and `live_check.py` for
`policy-runner check --live`.
"""
