"""Parameter rows declared on a node."""
