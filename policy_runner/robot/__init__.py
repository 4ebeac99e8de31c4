"""Everything that adapts a policy to this robot: parameters, limits, loading. No ROS.

Base: `parameters/`; then `config` (typed values), `parameter_files` and `values`; then `limits`,
`urdf`, `settings` and `feed`. Entry point: `load`.
"""
