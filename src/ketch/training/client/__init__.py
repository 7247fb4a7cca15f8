"""What Ketch gives to training processes: a module of the standard library alone, and what starts them with it.

Law: both are files in a ConfigMap, used by Pythons of 3.8 and later in images that know nothing of Ketch; so neither
imports ``ketch``, and ``ketch_training`` never raises where a platform is missing.
"""

from functools import cache
from importlib.resources import files
from typing import Final

MODULE: Final = "ketch_training.py"
START: Final = "start.sh"


@cache
def contents(name: str) -> str:
    """The text of one of the files."""
    return files(__name__).joinpath(name).read_text()
