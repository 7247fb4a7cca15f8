"""Runtime patches: strategic merge of pod templates, as far as a TrainJob may patch them. Pure, on JSON.

Lists of things that have a name merge by it, mounts by their path; every other list is replaced, except tolerations,
scheduling gates and image pull secrets, which add up.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

JSON = dict[str, Any]

_KEYS: Final[Mapping[str, str]] = {
    "replicatedJobs": "name",
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "imagePullSecrets": "name",
    "schedulingGates": "name",
}
_ADDED: Final = frozenset({"tolerations"})


def merged(base: Any, patch: Any, name: str = "") -> Any:
    """``base`` with ``patch`` over it; nulls in the patch remove."""
    if isinstance(base, dict) and isinstance(patch, dict):
        return _objects(cast("JSON", base), cast("JSON", patch))
    if isinstance(base, list) and isinstance(patch, list):
        if name in _KEYS:
            return _by_key(cast("list[JSON]", base), cast("list[JSON]", patch), _KEYS[name])
        if name in _ADDED:
            return [*cast("list[Any]", base), *(item for item in cast("list[Any]", patch) if item not in base)]
    return cast("Any", patch)


def _objects(base: JSON, patch: JSON) -> JSON:
    result = dict(base)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(base[name], value, name) if name in base else value
    return result


def _by_key(base: list[JSON], patch: list[JSON], key: str) -> list[JSON]:
    result = list(base)
    places = {item.get(key): index for index, item in enumerate(base)}
    for item in patch:
        place = places.get(item.get(key))
        if place is None:
            result.append(item)
        else:
            result[place] = merged(result[place], item)
    return result
