"""JSON merge patch, RFC 7386."""

from collections.abc import Mapping
from typing import Any, cast

from ketch.kube.errors import BadRequest


def _merged(value: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result: dict[str, Any] = dict(cast("dict[str, Any]", value)) if isinstance(value, dict) else {}
    for name, item in cast("dict[str, Any]", patch).items():
        if item is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), item)
    return result


def merge_patch(obj: Mapping[str, Any], patch: Any) -> dict[str, Any]:
    """``obj`` after the patch: null removes, objects merge, all else replaces. Raises BadRequest."""
    if not isinstance(patch, dict):
        raise BadRequest("a merge patch must be an object")
    return _merged(obj, patch)
