"""The node `simulated_robot`.

Ground: `parameters.py`, `topics.py`, and `heartbeat.py`, which needs neither ROS nor MuJoCo.
Door: `main.py`, the process, with `node.py`; its lockstep is in `lockstep.py`.
"""
