"""Readers of the YAML and JSON files that a trainer's deployment code reads on the robot.

A file of this folder drafts one format. `formats/detect.py` recognizes each format and calls it.
"""
