"""Which ConfigMaps and Secrets a pod names: what the agent of its node may read. Pure, on JSON."""

from collections.abc import Iterator, Mapping
from typing import Any

from ketch.local.apiserver.absent import NO_ITEMS, NOTHING

CONFIG_MAPS, SECRETS = "configmaps", "secrets"
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
_VOLUME = {CONFIG_MAPS: ("configMap", "name"), SECRETS: ("secret", "secretName")}
_SOURCE = {CONFIG_MAPS: "configMap", SECRETS: "secret"}
_ENV_FROM = {CONFIG_MAPS: "configMapRef", SECRETS: "secretRef"}
_KEY = {CONFIG_MAPS: "configMapKeyRef", SECRETS: "secretKeyRef"}


def names(pod: Mapping[str, Any], plural: str, name: str) -> bool:
    """Whether the pod names the ConfigMap or Secret (``plural``) of that name."""
    return name in _named(pod["spec"], plural)


def _named(spec: Mapping[str, Any], plural: str) -> Iterator[str]:
    source, field = _VOLUME[plural]
    for volume in spec.get("volumes") or NO_ITEMS:
        if source in volume:
            yield volume[source].get(field, "")
        for part in (volume.get("projected") or NOTHING).get("sources") or NO_ITEMS:
            if _SOURCE[plural] in part:
                yield part[_SOURCE[plural]].get("name", "")
    for container in (each for kind in _CONTAINERS for each in spec.get(kind) or NO_ITEMS):
        for origin in container.get("envFrom") or NO_ITEMS:
            yield (origin.get(_ENV_FROM[plural]) or NOTHING).get("name", "")
        for variable in container.get("env") or NO_ITEMS:
            yield ((variable.get("valueFrom") or NOTHING).get(_KEY[plural]) or NOTHING).get("name", "")
    if plural == SECRETS:
        for reference in spec.get("imagePullSecrets") or NO_ITEMS:
            yield reference.get("name", "")
