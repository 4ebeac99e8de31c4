"""The newest value of each input, with its age.

Ground: `message_types`, `message_fields`, `joints` and `attitude`. Doors: `slot`,
`measured_positions`, and for bytes `cdr` and `field_runs`.
"""
