"""The process `policy_runner_guard`: stops the robot when the runner cannot.

Ground: `watch`, which decides when to act. The messages between runner and guard are defined in
`ros/messages/guard_contract.py`. Door: `main`.
"""
