"""`from cuda.bindings import driver` in a child process: the fake."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3]))
from fake_cuda import make_bindings

_made = vars(make_bindings()[2])
globals().update({name: made for name, made in _made.items() if not name.startswith("_")})
