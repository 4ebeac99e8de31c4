"""`policy-runner demo`."""
