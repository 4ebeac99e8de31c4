"""`policy-runner export`, `verify` and `optimize`.

Ground: `source_options`. Doors: `command` (export), `verify_command`, `optimize_command`.
"""
