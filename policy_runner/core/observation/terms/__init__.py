"""One file for each family of observation terms.

Ground: `sources`, `rotation` and `counters`. Door: `compile`.
"""
