"""policy_runner: run a trained policy on a ROS 2 robot, at a fixed rate, safely and visibly."""

__version__ = "0.1.0"
