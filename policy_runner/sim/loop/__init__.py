"""A policy in the loop with a plant, in one process and without ROS.

`sensor_numbers` has the sensors' numbers, `input_feed` writes them into the policy's inputs, and
`robot_output` sends its commands to the plant. Door: `policy_in_loop`.
"""
