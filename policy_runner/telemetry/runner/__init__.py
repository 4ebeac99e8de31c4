"""The runner as the sidecar sees it: its statuses joined with the machine's.

Ground: `slowdown`, `command_rate`, `runner_statuses`. Door: `joined_status`.
"""
