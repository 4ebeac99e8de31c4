"""`policy-runner bench` and `selftest`: the step, the node, the backends.

Base: `step`, `backends`. Entry points: `command`, `selftest`.
"""
