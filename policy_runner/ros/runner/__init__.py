"""The node `policy_runner`."""
