"""Statuses of `/diagnostics`.

Ground: `status.py`, how one is written. Door: `listener.py`, which hears them.
"""
