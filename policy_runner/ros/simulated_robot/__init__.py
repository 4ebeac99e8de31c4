"""The node `simulated_robot`.

Base: `parameters.py`, `topics.py`, and `heartbeat.py`, which needs neither ROS nor MuJoCo.
Entry point: `main.py`, the process, with `node.py`; the node's lockstep is in `lockstep.py`.
"""
