"""One file for each part of the machine: reads it, and judges the reading."""
