"""The black box of a node: its files, and the thread that writes them.

Base: `mcap_file`, `content`. Entry points: `keeper` (the node's part) and `opened` (for a replay).
"""
