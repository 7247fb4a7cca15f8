"""Ephemeral containers: what may join a pod that is there already. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ketch.kube.causes import duplicate, forbidden, invalid, required
from ketch.kube.errors import Cause
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.metadata import DNS_LABEL, LABEL_MESSAGE

EPHEMERAL_SUBRESOURCE = "ephemeralcontainers"
FIELD = "ephemeralContainers"
PATH = f"spec.{FIELD}"
REFUSED = (
    *("lifecycle", "livenessProbe", "ports", "readinessProbe", "resizePolicy", "resources", "restartPolicy"),
    *("restartPolicyRules", "startupProbe"),
)
"""Fields of containers that one which only looks cannot have."""

Spec = Mapping[str, Any]


def only_ephemeral(obj: dict[str, Any], old: Spec) -> None:
    """Let a changed pod differ from ``old`` in its ephemeral containers alone."""
    asked = (obj.get("spec") or NOTHING).get(FIELD)
    rest = {name: item for name, item in old["spec"].items() if name != FIELD}
    obj["spec"] = {**rest, FIELD: asked} if asked else rest
    managed = {"managedFields": obj["metadata"]["managedFields"]} if "managedFields" in obj["metadata"] else {}
    obj["metadata"] = {**old["metadata"], **managed}


def ephemeral_causes(spec: Spec, old: Spec) -> list[Cause]:
    """What is wrong with a pod's ephemeral containers: they only come, and what came stays as it is."""
    wanted: Sequence[Spec] = spec.get(FIELD) or NO_ITEMS
    there = {each["name"]: each for each in old.get(FIELD) or NO_ITEMS}
    causes: list[Cause] = []
    lasting = [each["name"] for kind in ("containers", "initContainers") for each in spec.get(kind) or NO_ITEMS]
    volumes = {volume.get("name") for volume in spec.get("volumes") or NO_ITEMS}
    seen: set[str] = set()
    for index, each in enumerate(wanted):
        name, path = each.get("name", ""), f"{PATH}[{index}]"
        if name in seen or name in lasting:
            causes.append(duplicate(f"{path}.name", name))
        seen.add(name)
        if name not in there:
            causes += _container_causes(each, path, lasting, volumes)
        elif each != there[name]:
            causes.append(forbidden(path, f'existing ephemeral containers "{name}" may not be changed'))
    causes += [
        forbidden(PATH, f'existing ephemeral containers "{name}" may not be removed') for name in there.keys() - seen
    ]
    return causes


def _container_causes(each: Spec, path: str, lasting: Sequence[str], volumes: set[Any]) -> Iterator[Cause]:
    name = each.get("name", "")
    if not name:
        yield required(f"{path}.name")
    elif not DNS_LABEL.match(name) or len(name) > 63:
        yield invalid(f"{path}.name", name, LABEL_MESSAGE)
    if not each.get("image"):
        yield required(f"{path}.image")
    for field in REFUSED:
        if each.get(field):
            yield forbidden(f"{path}.{field}", "cannot be set for an Ephemeral Container")
    target = each.get("targetContainerName")
    if target and target not in lasting:
        yield Cause("FieldValueNotFound", f'Not found: "{target}"', f"{path}.targetContainerName")
    for index, mount in enumerate(each.get("volumeMounts") or NO_ITEMS):
        where = f"{path}.volumeMounts[{index}]"
        if mount.get("name") not in volumes:
            yield Cause("FieldValueNotFound", f'Not found: "{mount.get("name", "")}"', f"{where}.name")
        if mount.get("subPath") or mount.get("subPathExpr"):
            field = "subPath" if mount.get("subPath") else "subPathExpr"
            yield forbidden(f"{where}.{field}", "cannot be set for an Ephemeral Container")
