"""Recordings of diagnostics: writes them, reads them, and summarizes them.

Ground: `diagnostics_cdr`. Doors: `mcap` and `report`.
"""
