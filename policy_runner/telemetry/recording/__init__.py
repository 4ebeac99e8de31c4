"""Recordings of diagnostics: written, read again, and summed up.

Ground: `diagnostics_cdr`. Doors: `mcap` and `report`.
"""
