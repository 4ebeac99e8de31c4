"""LeRobot: processors with their statistics, and the configuration of policies with chunks.

`detect` imports `processors`, which uses `policy_config`.
"""
