"""`policy-runner inspect`. Ground: `contract`. Door: `command`."""
