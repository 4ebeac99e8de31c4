"""`policy-runner serve`. Entry point: `command`."""
