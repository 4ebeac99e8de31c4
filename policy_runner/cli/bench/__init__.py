"""`policy-runner bench` and `selftest`: the step, the node, the backends.

Ground: `step`, `backends`. Doors: `command`, `selftest`.
"""
