"""`policy-runner inspect`."""
