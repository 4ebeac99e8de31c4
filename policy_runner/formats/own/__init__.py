"""This project's own exports, read back from the model alone. Door: `exported`."""
