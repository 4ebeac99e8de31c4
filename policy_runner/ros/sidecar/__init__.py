"""The node `jetson_diagnostics`.

Base: `parameters.py`, `command_watch.py`. Entry point: `main.py`, the process, with `node.py`.
"""
