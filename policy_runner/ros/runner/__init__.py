"""The node `policy_runner`.

Ground: `ticker.py` and `control_loop.py` (the control thread), `handover.py` (how other threads
give it work), `configure.py` (a policy with its topics), `interface.py` (the node's interface for
its parts).
Door: `main.py`, the process. It creates the node of `node.py`.
"""
