"""The runner's parameters: one row declares, checks and documents each.

Ground: `parameter`. Door: `runner`, the table of all rows that do not depend on the policy;
`policy` makes the rows that do.
"""
