"""The decision of every tick, and the faults that it is based on.

Base module: `decision`. Other folders use the other files; each finds faults of one kind.
"""
