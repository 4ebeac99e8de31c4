"""`policy-runner replay`."""
