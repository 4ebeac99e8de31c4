"""The sidecar's view of the runner: its statuses, joined with the host's verdicts.

Ground: `slowdown`, `command_rate`, `runner_statuses`. Door: `joined_status`.
"""
