"""A policy folder offered to simulators and other machines, and the clients of such servers.

Base: `protocols` (bytes to arrays and back, pure). Then `session` (one pipeline per connection),
`server` (`policy-runner serve`) and `client` (asks a server, with deadlines). No ROS.
Import from outside: `server.serve`, `client.interface`.
"""
