"""`policy-runner monitor`.

Base: `screen`. Entry point: `command`.
"""
