"""One file for each part of the machine: reads it, and judges the reading.

Ground: `identity` and `power_mode`. Every file is a door of its own.
"""
