"""A model on another machine.

Base: `protocols` (bytes to arrays and back, pure) and `tokens`. Then `client` (asks a server, with
deadlines), `server_options` (the parameters) and `remote_model` (the door). `serving` has the other
side.
"""
