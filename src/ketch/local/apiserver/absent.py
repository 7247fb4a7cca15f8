"""What stands for an object or a list that JSON leaves out; never to be changed."""

from collections.abc import Mapping, Sequence
from typing import Any

NOTHING: Mapping[str, Any] = {}
NO_ITEMS: Sequence[Any] = ()
