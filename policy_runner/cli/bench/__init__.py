"""`policy-runner bench`: the step, the node, the backends."""
