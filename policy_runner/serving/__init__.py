"""A policy folder offered to simulators and other machines (`policy-runner serve`). No ROS.

Base: `session` (one pipeline per connection), then `server`. The protocols and the clients of such
servers are in `backends/remote`. Import from outside: `server.serve`.
"""
