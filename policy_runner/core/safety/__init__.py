"""The decision of every tick, and what it is based on.

Ground: `decision`. The other files are doors: each finds faults of one kind.
"""
