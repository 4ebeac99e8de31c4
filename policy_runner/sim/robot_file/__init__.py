"""The format of `robot.yaml`: what a simulated robot needs in addition to its MJCF or URDF.

`robot_keys` has the whole file and `sensor_keys` its sensors. `robot_reader` reads and checks it.
"""
