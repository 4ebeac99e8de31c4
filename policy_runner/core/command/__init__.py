"""From the action of the model to the command of a tick.

`decoder` makes targets of outputs; `command` is the ground of `start_pose`. The pipeline and the
node import each of them: the folder has no single door.
"""
