"""The decision of every tick: numpy arrays in, commands out. Nothing logs, sleeps or reads a clock.

Read `pipeline/pipeline.py` first. Base modules: `errors`, `model`, `settings` and `timing`. Then
`files` <- `spec` <- `inputs` <- `observation`, `safety` <- `command` <- `pipeline`. The entry point
is `pipeline`.
"""
