"""The inference lanes: in the control thread, in another thread, in a process of its own.

`open_lane` is the entry: it makes the lane that the parameters ask for. The process of a lane runs
`lane_process`.
"""
