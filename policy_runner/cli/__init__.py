"""The command `policy-runner`."""
