"""The simulated robot of the demo and the closed-loop tests: physics and scenario, without ROS.

Ground: `sensors`, `variation` and `balancer`. Doors: `scenario`, `window` and `handwritten_loop`.
"""
