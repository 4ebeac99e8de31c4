"""The process `policy_runner_guard`: stops the robot when the runner cannot.

Ground: `contract`, what runner and guard tell each other, and `watch`, when to act. Door: `main`.
"""
