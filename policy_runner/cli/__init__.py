"""The policy-runner command."""
