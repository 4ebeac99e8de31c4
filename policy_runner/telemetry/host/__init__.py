"""One module for each part of the machine: it reads the part and judges the reading.

Ground: `identity` and `power_mode`. Every module is a door.
"""
