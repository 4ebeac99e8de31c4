"""Inference next to the control thread: what a lane is asked, and what it answers.

`interface` has both sides. `snapshot` copies one observation. `worker` runs one inference on it.
The lanes themselves (in this thread, in another one, in another process) are in `robot/lane`.
"""
