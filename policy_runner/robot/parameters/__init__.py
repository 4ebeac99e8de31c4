"""The runner's parameters: one row declares, checks and documents each parameter.

Base: `parameter`. Entry points: `runner`, the table of all rows that do not depend on the policy,
and `policy`, which makes the rows that do.
"""
