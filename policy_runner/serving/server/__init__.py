"""`policy-runner serve`: HTTP and websockets on one port, with bounds and trust.

Base: `serve_settings`, `trust`, `turns`. Then the endpoints, `application`, `connections`, and
`workers`, the entry point.
"""
