"""`policy-runner export`, `verify` and `optimize`.

Ground: `source_options`, `closed_loop` and `robot_loop`.
Doors: `command` (export), `verify_command`, `optimize_command`.
"""
