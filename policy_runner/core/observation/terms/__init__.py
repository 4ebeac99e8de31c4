"""One file for each family of observation terms.

Base modules: `sources`, `rotation` and `counters`. Other folders use `compile`.
"""
