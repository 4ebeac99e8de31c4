"""The command line `policy-runner`.

Door: `main`, which imports the module of the command that was asked for. Every other file or
folder is one command, except the ground: `command_parser`, `backend_options`, `drawing`,
`old_names` and `suspicions`.
"""
