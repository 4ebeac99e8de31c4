"""Statuses of `/diagnostics`, and the log.

Ground: `status.py`, how one is written. Doors: `listener.py`, which hears them, and `story.py`,
which writes the log.
"""
