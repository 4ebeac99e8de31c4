"""The newest value of each input, with its age.

Base modules: `message_types`, `message_fields`, `joints` and `attitude`. Other folders use `slot`,
`measured_positions`, and, for serialized messages, `cdr` and `field_runs`.
"""
