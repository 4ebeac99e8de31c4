"""`policy-runner demo`. Base: `view`. Entry point: `command`."""
