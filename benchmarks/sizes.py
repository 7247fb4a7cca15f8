"""How much is measured: all of it, or a share of it for a quick look (``--scale 0.05``)."""

SMALLEST = 2
_scale = 1.0


def set_scale(scale: float) -> None:
    """From now on sizes are ``scale`` of what they are."""
    global _scale  # noqa: PLW0603  # the one setting of one program
    _scale = scale


def scaled(size: int) -> int:
    """The size at the scale that was set."""
    return max(min(size, SMALLEST), round(size * _scale))
