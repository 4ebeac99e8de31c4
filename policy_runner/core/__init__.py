"""The decision, pure: numpy in, commands out; nothing here logs, sleeps or reads a clock.

Read `pipeline/pipeline.py` first. Ground: `errors`, `model`, `settings` and `timing`. Then
`files` <- `spec` <- `inputs` <- `observation`, `safety` <- `command` <- `pipeline`, the door.
"""
