"""Reference motions: the table of a file, and the clock that selects its row.

`clock` counts, `table` reads and interpolates. `motion`, one folder up, makes terms of them.
"""
