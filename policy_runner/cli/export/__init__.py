"""`policy-runner export`, `verify` and `optimize`.

Ground: `source_options` and `robot_loop`.
Doors: `command` (export), `verify_command`, `optimize_command`.
"""
