"""Robots in MuJoCo, from an MJCF or a URDF and a `robot.yaml`, without ROS.

Ground: `robot_file` (the format of `robot.yaml`) and `variation`. On it `plant` (the physics of one
robot) and `loop` (a policy drives a plant through the node's pipeline). The demo's robot has its
own files: `balancer`, `sensors`, `scenario`, `window` and `handwritten_loop`.

The way from files to a closed loop:

    robot = read_robot("robot.yaml")                 # sim.robot_file.robot_reader
    loop = put_in_loop("policy.yaml", robot, params)  # sim.loop.policy_in_loop
    loop.begin(seed=3, variation=Variation(friction=0.8))
    loop.inputs.command[:] = 0.5, 0, 0, 0, 0, 0       # vx, vy, vz [m/s], wx, wy, wz [rad/s]
    loop.plant.set_delay(0.02)                        # of commands [s]
    loop.plant.push((30, 0, 0), 0.1)                  # [N] in the world, [s]
    loop.run(20.0, after=lambda loop, step: loop.plant.tilt > 0.8)  # True ends the run
    loop.close()

- `loop.tick()` is one control period and returns the pipeline's `Step`. `loop.decide()` is its
  first half; `loop.plant.advance(n)` then does n physics steps.
- `loop.inputs.change = f` changes readings before the policy gets them: `f(input, kind, numbers)`
  returns the numbers; `kind` is position, velocity or effort of joints, else ''. The orders are in
  `sim.loop.sensor_numbers`. `loop.inputs.skipped = {"imu"}` loses the messages of the next ticks.
- `loop.loaded.pipeline` has `safety.decision`, `limit_hits`, `settings` and `elements`.
- `loop.plant.read` has joints, Imu, poses, velocities, named sensors, contact forces and
  `point_velocity` (foot slip). `plant.tilt`, `plant.yaw`, `plant.time_s`.
- A simulation that diverges raises `Refusal` in `tick`. So does all bad input before it.
- `plant_for(robot, loaded)` and `PolicyInLoop(loaded, plant)` do the same in two steps; the model
  and the plant are reused by `begin` for every episode.
"""
