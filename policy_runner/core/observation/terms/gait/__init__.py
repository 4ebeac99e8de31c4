"""Gait clocks: how a phase advances, and the questions to a command that hold it.

`phase` is the clock, `conditions` the questions. `clocks`, one folder up, makes terms of them.
"""
