"""One file for each family of observation terms."""
