"""What is wrong with a field, in the words that users of Kubernetes know."""

from collections.abc import Sequence
from typing import Any

import orjson

from ketch.kube.errors import Cause

_LONGEST = 120


def shown(value: Any) -> str:
    """A value in a message: JSON, shortened."""
    text = orjson.dumps(value).decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def invalid(path: str, value: Any, message: str) -> Cause:
    """A FieldValueInvalid cause."""
    return Cause("FieldValueInvalid", f"Invalid value: {shown(value)}: {message}", path)


def required(path: str, message: str = "") -> Cause:
    """A FieldValueRequired cause."""
    return Cause("FieldValueRequired", f"Required value: {message}" if message else "Required value", path)


def unsupported(path: str, value: Any, supported: Sequence[Any]) -> Cause:
    """A FieldValueNotSupported cause."""
    words = ", ".join(shown(item) for item in supported)
    return Cause("FieldValueNotSupported", f"Unsupported value: {shown(value)}: supported values: {words}", path)


def forbidden(path: str, message: str) -> Cause:
    """A FieldValueForbidden cause."""
    return Cause("FieldValueForbidden", f"Forbidden: {message}", path)


def duplicate(path: str, value: Any) -> Cause:
    """A FieldValueDuplicate cause."""
    return Cause("FieldValueDuplicate", f"Duplicate value: {shown(value)}", path)


def immutable(path: str, value: Any) -> Cause:
    """A FieldValueInvalid cause for a field that was changed and may not be."""
    return invalid(path, value, "field is immutable")
