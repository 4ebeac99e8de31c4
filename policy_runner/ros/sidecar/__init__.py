"""The node `jetson_diagnostics`.

Ground: `parameters.py`, `command_watch.py`. Door: `main.py`, the process, with `node.py`.
"""
