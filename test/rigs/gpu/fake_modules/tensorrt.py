"""`import tensorrt` in a child process whose PYTHONPATH has this folder: the fake."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from fake_tensorrt import fake_from_environment

_made = vars(fake_from_environment())
__version__ = _made["__version__"]
globals().update({name: made for name, made in _made.items() if not name.startswith("_")})
