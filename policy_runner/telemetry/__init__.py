"""Reads figures of a host or Jetson from files below a root path, and judges them, without ROS.

Ground: `host_files` and `verdict`. Doors: `groups` (readers and their judges), `sampler`.
"""
