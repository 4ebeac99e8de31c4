"""Read a policy's files with a size limit, without running code from them, and checked.

Base module: `bounded`. Other folders use `arrays` and `safe_yaml`.
"""
