"""Read files that come with a policy: bounded, safe, checked.

Ground: `bounded`. Doors: `arrays` and `safe_yaml`.
"""
