"""The runner as the sidecar sees it: its statuses joined with the machine's."""
