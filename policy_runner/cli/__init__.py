"""The command line `policy-runner`.

Entry point: `main`, which imports the module of the requested command. Every other file or folder
is one command, except the base: `command_parser`, `backend_options`, `drawing`, `old_names` and
`suspicions`.
"""
