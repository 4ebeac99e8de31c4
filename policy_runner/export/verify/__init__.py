"""Is a policy folder what its source computes? The trainer's own call against the runner's.

Ground: `rows`, `our_side`, `truths`. `agreement` compares numbers, `file_checks` the files. Door:
`verify_policy`.
"""
