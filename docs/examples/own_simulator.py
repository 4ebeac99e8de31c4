"""A simulator of your own, in lockstep with policy_runner: replace `Balancer` by your physics."""

import sys

import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Imu, JointState

from policy_runner.sim.balancer import JOINT_NAMES, Balancer

PERIOD_MS = 10  # control_dt of the policy


def main(ticks: int) -> int:
    rclpy.init()
    node = rclpy.create_node("own_simulator")
    imu, joints, twist, clock = Imu(), JointState(name=JOINT_NAMES), TwistStamped(), Clock()
    topics = {"imu/data": imu, "joint_states": joints, "cmd_vel": twist, "/clock": clock}
    outputs = [(node.create_publisher(type(m), topic, 10), m) for topic, m in topics.items()]
    answers = {}  # stamp -> the command, or the status of a tick without a command
    for kind, topic in ((JointState, "joint_commands"), (DiagnosticArray, "policy_runner/status")):
        node.create_subscription(
            kind, topic, lambda m: answers.update({str(m.header.stamp): m}), 10
        )
    robot, targets = Balancer(), dict.fromkeys(JOINT_NAMES, 0.0)
    robot.stand(pitch_rad=0.05)
    for tick in range(1, ticks + 1):  # 1. one stamp for everything, never 0
        stamp = Time(sec=tick * PERIOD_MS // 1000, nanosec=tick * PERIOD_MS % 1000 * 10**6)
        clock.clock = imu.header.stamp = joints.header.stamp = twist.header.stamp = stamp
        o, w = imu.orientation, imu.angular_velocity
        o.x, o.y, o.z, o.w = robot.orientation_xyzw.tolist()
        w.x, w.y, w.z = robot.gyro.tolist()
        joints.velocity = robot.wheel_velocity.tolist()
        twist.twist.linear.x = 0.3
        answers.clear()
        while str(stamp) not in answers:  # 2. publish, again every 0.2 s, until it is answered
            for publisher, message in outputs:
                publisher.publish(message)
            again = node.get_clock().now().nanoseconds + 200_000_000
            while str(stamp) not in answers and node.get_clock().now().nanoseconds < again:
                rclpy.spin_once(node, timeout_sec=0.1)
        answer = answers[str(stamp)]
        if isinstance(answer, JointState):  # else a status: the motors keep their targets
            targets.update(zip(answer.name, answer.velocity))
        steps = round(PERIOD_MS / 1000 / robot.timestep_s)
        robot.advance([targets[name] for name in JOINT_NAMES], steps)  # 3. let the time pass
        if tick % 100 == 0:
            print(f"tick {tick}: {robot.forward_velocity:.3f} m/s, tilt {robot.tilt:.4f} rad")
    return 1 if robot.fallen else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
