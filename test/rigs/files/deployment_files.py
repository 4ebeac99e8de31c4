"""Small files of deployment programs, in the form that their own sources read."""

from __future__ import annotations

from typing import Any

LEGGED_ROS2: dict[str, Any] = {
    "controller_manager": {"ros__parameters": {"update_rate": 200}},
    "rl_controller": {"ros__parameters": {
        "control_rate": 50, "imu_names": ["imu"], "gait_period": 0.6,
        "obs_names": ["base_ang_vel", "velocity_commands", "joint_pos", "sin_cos_phase"],
        "obs_cfg": {
            "base_ang_vel": {"clip": [0.0], "scale": 0.2, "history_length": 3},
            "velocity_commands": {"clip": [-1.0, 1.0], "scale": 2.0, "history_length": 0},
            "joint_pos": {"clip": [0.0], "scale": 1.0, "history_length": 3},
        },
        "joint_names": ["hip", "knee"],
        "action_cfg": {
            "hip": {"clip": [-1.0, 1.0], "scale": 0.25, "kp": 25.0, "kd": 0.5, "default_pos": 0.1},
            "knee": {"clip": [0.0], "scale": 0.5, "kp": 30.0, "kd": 0.6, "default_pos": -0.2},
        },
        "range_lin_vel_x": [-0.5, 1.0], "range_lin_vel_y": [-0.3, 0.3],
        "range_ang_vel_z": [-0.2, 0.2],
    }},
}  # fmt: skip
LEGGED_GYM: dict[str, Any] = {
    "control_dt": 0.02, "kps": [100, 150], "kds": [2, 4], "default_angles": [-0.1, 0.3],
    "ang_vel_scale": 0.25, "dof_pos_scale": 1.0, "dof_vel_scale": 0.05, "action_scale": 0.25,
    "cmd_scale": [2.0, 2.0, 0.25], "num_actions": 2, "num_obs": 17, "max_cmd": [0.8, 0.5, 1.57],
    "leg_joint2motor_idx": [1, 0],
}  # fmt: skip
BERKELEY: dict[str, Any] = {
    "policy_checkpoint_path": "checkpoints/policy.onnx", "policy_dt": 0.04, "control_dt": 0.004,
    "num_joints": 3, "joints": ["arm", "hip", "knee"], "joint_kp": [10.0, 20.0, 21.0],
    "joint_kd": 2.0, "effort_limits": [4.0, 6.0, 6.0], "default_joint_positions": [0.0, -0.2, 0.4],
    "num_observations": 15, "history_length": 4, "num_actions": 2, "action_indices": [1, 2],
    "action_scale": 0.25, "action_limit_lower": -10.0, "action_limit_upper": 9.0,
}  # fmt: skip
SIM2REAL: dict[str, Any] = {
    "observation": {
        "policy": {
            "root_angvel_b": {"noise_std": 0.05}, "projected_gravity_b": {},
            "joint_pos_history": {"history_steps": [0, 2, 4], "noise_std": 0.01},
            "joint_vel_multistep": {"steps": 2}, "prev_actions": {"steps": 1},
        },
    },
    "isaac_joint_names": ["l_hip", "r_hip", "wrist"], "policy_joint_names": ["l_hip", "r_hip"],
    "default_joint_pos": {".*_hip": -0.15}, "action_scale": {".*hip": 0.25},
    "joint_kp": {".*_hip": 150.0, "wrist": 4.0}, "joint_kd": 2.0,
}  # fmt: skip
LIMX: dict[str, Any] = {
    "PointfootCfg": {
        "joint_names_gym": ["a_L", "b_L", "a_R", "b_R"],
        "joint_names_lab": ["a_L", "a_R", "b_L", "b_R"],
        "init_state": {"default_joint_angle": {"a_L": 0.1, "b_L": 0.2, "a_R": 0.3, "b_R": 0.4}},
        "control": {"stiffness": 42.0, "damping": 3.5, "action_scale_pos": 0.25, "decimation": 10,
                    "user_torque_limit": 80},
        "normalization": {"clip_scales": {"clip_observations": 100.0, "clip_actions": 50.0},
                          "obs_scales": {"ang_vel": 0.25, "dof_pos": 1.0, "dof_vel": 0.05}},
        "size": {"actions_size": 4, "observations_size": 24, "commands_size": 3,
                 "obs_history_length": 10, "encoder_output_size": 3},
        "imu_orientation_offset": {"roll": 0.0, "pitch": 0.0, "yaw": 0.0},
        "user_cmd_scales": {"lin_vel_x": 1.5, "lin_vel_y": 1.0, "ang_vel_yaw": 0.5},
    },
}  # fmt: skip
TRON2: dict[str, Any] = {
    "Tron2Cfg": {
        "robot_variant": "WF_TRON2A",
        "init_state": {"joint_names": ["hip", "yaw_L", "wheel_L"],
                       "sensor_joint_names": ["yaw_L", "hip", "wheel_L"],
                       "default_joint_angle": {"hip": 0.1, "yaw_L": -0.2, "wheel_L": 0.0}},
        "control": {"joint_control_modes": ["position", "position", "velocity"],
                    "leg_joint_stiffness": 160.0, "leg_joint_damping": 10.0,
                    "light_joint_stiffness": 53.0, "light_joint_damping": 3.0,
                    "wheel_joint_damping": 0.6, "leg_joint_torque_limit": 140.0,
                    "light_joint_torque_limit": 40.0, "wheel_joint_torque_limit": 22.0,
                    "action_scale_pos": 0.25, "action_scale_vel": 2.0, "decimation": 10},
        "normalization": {"clip_scales": {"clip_observations": 100.0, "clip_actions": 50.0}},
        "size": {"actions_size": 3, "policy_obs_size": 14, "encoder_output_size": 3,
                 "obs_history_length": 10},
        "commands": {"max": {"lin_vel_x": 0.7, "lin_vel_y": 0.0, "ang_vel_yaw": 1.0}},
        "gait": {"enabled": True, "frequency": 0.8, "offset": 0.5, "duration": 0.5,
                 "swing_height": 0.2},
    },
}  # fmt: skip
LEAPP: dict[str, Any] = {
    "models": {"walk": {
        "inputs": [
            {"name": "q", "kind": "state/joint/position", "shape": [1, 2],
             "element_names": [[], ["hip", "knee"]]},
            {"name": "rot", "kind": "state/body/rotation", "shape": [1, 4],
             "element_names": [[], ["w", "x", "y", "z"]]},
            {"name": "cmd", "kind": "command/body/velocity", "shape": [1, 3],
             "element_names": [["lin_x", "lin_y", "ang_z"]]},
            {"name": "h", "kind": "feedback/h_next", "shape": [1, 8]},
        ],
        "outputs": [
            {"name": "target", "kind": "target/joint/position", "shape": [1, 2],
             "element_names": [[], ["knee", "hip"]]},
            {"name": "h_next", "kind": "h", "shape": [1, 8]},
        ],
        "parameters": {"model_path": "policy.onnx", "backend": "onnx"},
    }},
    "pipeline": {
        "inputs": {"walk": ["q", "rot", "cmd"]}, "outputs": {"walk": ["target"]},
        "feedback_connections": {"walk/h_next": ["walk/h"]}, "data_flow": {},
        "configs": {"frequency": 50.0},
    },
}  # fmt: skip
DEPLOYMENTS: dict[str, dict[str, Any]] = {
    "legged_ros2": LEGGED_ROS2, "legged_gym": LEGGED_GYM, "berkeley": BERKELEY,
    "sim2real": SIM2REAL, "limx": LIMX, "limx_tron2": TRON2,
    "leapp": LEAPP,
}  # fmt: skip
