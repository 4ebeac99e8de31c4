"""`policy-runner inspect`. Base: `contract`. Entry point: `command`."""
