"""The thin ROS side: parameters, messages to numpy, the nodes and the control thread.

Imports run one way: `messages`, `process`, `parameters` <- `inputs`, `outputs`, `diagnostics` <-
`runner`, `sidecar`, `simulated_robot` <- `bench`. `processes.py` is a door: the launch file and the
demo read from it which processes to start.
"""
