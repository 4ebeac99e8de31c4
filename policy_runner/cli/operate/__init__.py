"""`policy-runner run` and `policy-runner ctl`. Base: `children`, `status_view`.

Entry points: `supervise` is the command `run`, `ctl` operates a running node.
"""
