"""`policy-runner replay`.

Base: `signals` (one input's messages), `arrays`, `compare`. Entry point: `command`.
"""
