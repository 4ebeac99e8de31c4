"""Poses of bodies and the relations between two of them.

`poses` reads a pose from messages, offsets and joints; `relations` has the terms.
"""
