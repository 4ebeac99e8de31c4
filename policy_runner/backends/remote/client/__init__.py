"""Clients of policy servers for a process that may wait: openpi and the Open Inference Protocol.

Base: `interface`, `deadline`. Entry point: `open_client.open_client`.
"""
