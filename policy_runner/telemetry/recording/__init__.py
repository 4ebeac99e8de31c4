"""Recordings of diagnostics: writes them, reads them, and summarizes them.

Ground: `cdr_bytes` (writes) and `diagnostics_cdr` (reads). Doors: `mcap` and `report`.
"""
