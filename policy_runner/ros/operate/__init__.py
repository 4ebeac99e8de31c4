"""Operating a runner from another process: its services, its emergency stop, what it reports.

Base: `names`, `report`. Entry point: `client`.
"""
