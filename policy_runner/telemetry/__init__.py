"""Host and Jetson readings from a root path: text to numbers, no ROS.

Ground: `host_files` and `verdict`. Doors: `groups` (what is read, and how it is judged), `sampler`.
"""
