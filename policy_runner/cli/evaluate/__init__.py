"""`policy-runner evaluate`: options, table, picture, frames and recording.

The judgement is in `sim/evaluate`. Ground: `options`. Door: `command`.
"""
