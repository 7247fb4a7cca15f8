"""Resource quantities: ``500m``, ``1.5Gi``, ``2e3`` as exact numbers.

Source: k8s.io/apimachinery resource.Quantity. Values are Fractions of the base unit (cores, bytes, pieces).
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import Annotated

_PATTERN = re.compile(r"^([+-]?)(\d+\.?\d*|\.\d+)(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?\d+)?$")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
MESSAGE = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"

Quantity = Annotated[str, "quantity"]
"""A quantity as it is written: text, or a plain number."""


class QuantityError(ValueError):
    """The text is no quantity."""


@lru_cache(maxsize=2048)
def parse_quantity(text: str | float) -> Fraction:
    """The exact value. Raises QuantityError."""
    found = _PATTERN.match(str(text))
    if found is None:
        raise QuantityError(MESSAGE)
    sign, digits, suffix = found[1], found[2], found[3] or ""
    value = Fraction(digits)
    if suffix in _BINARY:
        value *= 1 << _BINARY[suffix]
    elif suffix[:1] in ("e", "E") and len(suffix) > 1:
        if abs(int(suffix[1:])) > 30:  # beyond any resource; keeps numbers small
            raise QuantityError(MESSAGE)
        value *= Fraction(10) ** int(suffix[1:])
    else:
        value *= Fraction(10) ** _DECIMAL[suffix]
    return -value if sign == "-" else value


def whole(text: str | float) -> int:
    """The value rounded up to a whole unit. Raises QuantityError."""
    value = parse_quantity(text)
    return -(-value.numerator // value.denominator)


def milli(text: str | float) -> int:
    """The value in thousandths, rounded up. Raises QuantityError."""
    value = parse_quantity(text) * 1000
    return -(-value.numerator // value.denominator)


def format_quantity(value: Fraction, *, binary: bool = False) -> str:
    """The canonical text: the largest suffix that leaves a whole number."""
    if value == 0:
        return "0"
    if binary and value.denominator == 1:
        for suffix, power in reversed(_BINARY.items()):
            if value.numerator % (1 << power) == 0:
                return f"{value.numerator >> power}{suffix}"
        return str(value.numerator)
    for suffix, power in reversed(_DECIMAL.items()):
        scaled = value / Fraction(10) ** power
        if scaled.denominator == 1:
            return f"{scaled.numerator}{suffix}"
    rounded = -(-value * 10**9 // 1)
    return f"{-rounded if value < 0 else rounded}n"
