"""Start, end and threads of a process.

Ground: `lifetime.py`, `stderr.py` and `realtime.py`, which are used before rclpy is initialized.
Door: `executor.py`, the thread that serves a node.
"""
