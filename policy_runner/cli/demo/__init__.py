"""`policy-runner demo`. Base: `children`, `view`. Entry point: `command`."""
