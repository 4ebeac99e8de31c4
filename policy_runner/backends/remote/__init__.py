"""A model on another machine.

Base: `protocols` (bytes to arrays and back, pure) and `tokens`. Then `client` (asks a server, with
deadlines). `serving` has the other side.
"""
