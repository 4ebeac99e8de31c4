"""A loaded policy, shared by many connections, each with its own pipeline.

Base: `shared_model`. Then `policy_session`, `tensor_runs`. Entry point: `served_policy`.
"""
