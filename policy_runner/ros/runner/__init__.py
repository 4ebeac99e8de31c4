"""The node `policy_runner`.

Ground: `ticker.py` and `control_loop.py` (the control thread), `handover.py` (how others reach
it), `configure.py` (a policy with its topics), `interface.py` (the node as its parts see it).
Door: `main.py`, the process, which makes the node of `node.py`.
"""
