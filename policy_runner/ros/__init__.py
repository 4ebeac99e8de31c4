"""The thin ROS side: parameters, messages to numpy, the nodes and the control thread.

Imports run one way: `messages`, `process`, `parameters` <- `inputs`, `outputs`, `diagnostics` <-
`runner`, `sidecar`, `simulated_robot` <- `bench`. `operate` is a client of
a running runner, for `policy-runner ctl`. `processes.py` is a door: the launch file, `run` and the
demo read from it which processes to start.
"""
