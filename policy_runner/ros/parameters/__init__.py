"""Parameter rows declared on a node.

Ground: `declared.py`, for every node. Door: `of_policy.py`, the rows that a policy adds.
"""
