"""What a process does at its start and its end, and with its threads.

Ground: `lifetime.py`, `stderr.py` and `realtime.py`, which are used before rclpy is initialized.
Door: `executor.py`, the thread that serves a node.
"""
