"""`policy-runner convert`: one file per kind of file, and `command` with their arguments."""
