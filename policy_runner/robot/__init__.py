"""What this robot does with the policy: parameters, limits, loading. No ROS.

Ground: `parameters/`, then `config`, which types their values, `parameter_files` and `values`,
then `limits`, `urdf`, `settings` and `feed`. Door: `load`.
"""
