"""What a process does at its start and its end, and with its threads."""
