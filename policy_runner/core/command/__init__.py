"""From the action of the model to the command of a tick."""
