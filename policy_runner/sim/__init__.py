"""The simulated robot of the demo and of the closed-loop tests: physics and scenario, no ROS.

Ground: `sensors`, `variation` and `balancer`. Doors: `scenario`, `window` and `handwritten_loop`.
"""
