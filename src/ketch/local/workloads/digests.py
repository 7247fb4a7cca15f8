"""What tells templates apart, and parts of a whole: arithmetic that several controllers share. Pure."""

import hashlib
from typing import Any

import orjson

from ketch.kube.types.containers import IntOrString

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
HASH_LENGTH = 10


def digest(*parts: Any) -> str:
    """A label value that differs when any of the JSON values does."""
    text = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)
    number = int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
    digits: list[str] = []
    for _ in range(HASH_LENGTH):
        number, place = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[place])
    return "".join(digits)


def resolve(value: IntOrString, total: int, *, up: bool) -> int:
    """A number or percentage of ``total``, rounded up or down."""
    if isinstance(value, int):
        return value
    share = int(value.rstrip("%")) * total
    return -(-share // 100) if up else share // 100
