"""Statuses of `/diagnostics`, and the log.

Base: `status.py` builds one status. Entry points: `listener.py` receives statuses, and `story.py`
writes the log.
"""
