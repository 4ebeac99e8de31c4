"""`policy-runner replay`.

Ground: `signals` (one input's messages), `arrays`, `compare`. Door: `command`.
"""
