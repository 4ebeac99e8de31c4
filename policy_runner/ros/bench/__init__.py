"""Processes that measure the node."""
