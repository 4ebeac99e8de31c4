"""Motions of trainers: headerless CSV and the outputs of a model, resampled to a policy's rate.

`raw_motion` is what a source has, `resample` brings it to another rate, `chains` adds bodies, and
`motion_sources` reads. The result is the .npz that `core/observation/terms/motions/table.py` reads.
"""
