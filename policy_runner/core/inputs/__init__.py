"""The newest value of each input, with its age.

Ground: `message_fields`, `joints` and `cdr`. Doors: `slot` and `measured_positions`.
"""
