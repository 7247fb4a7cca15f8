"""A container's environment variables, as the kubelet computes them. Pure.

Order, later ones winning: service variables, ``envFrom``, ``env``. ``$(NAME)`` in a value refers to what stands before
it; ``$$(NAME)`` is the text ``$(NAME)``.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ketch.kube.quantities import parse_quantity
from ketch.kube.types.containers import Container, EnvFromSource, EnvVar, ResourceFieldSelector
from ketch.kube.types.core import ConfigMap, Pod, Secret, Service
from ketch.kube.types.services import HEADLESS

CONFIG_ERROR = "CreateContainerConfigError"
MASTER_SERVICE = ("default", "kubernetes")
_REFERENCE = re.compile(r"\$(\$|\(([^)]*)\))")
_SUBSCRIPT = re.compile(r"^(metadata\.(?:labels|annotations))\['(.*)'\]$")


class ConfigError(Exception):
    """The container cannot be configured: what it refers to is missing. The message names it."""


@dataclass(frozen=True)
class Surroundings:
    """What a pod's values may refer to. Objects that do not exist map to None."""

    pod_ip: str = ""
    host_ip: str = ""
    node_name: str = ""
    allocatable: Mapping[str, str] = field(default_factory=dict[str, str])
    config_maps: Mapping[str, ConfigMap | None] = field(default_factory=dict[str, "ConfigMap | None"])
    secrets: Mapping[str, Secret | None] = field(default_factory=dict[str, "Secret | None"])
    services: Sequence[Service] = ()


def expand(text: str, values: Mapping[str, str]) -> str:
    """``text`` with ``$(NAME)`` replaced; names without a value stay as they are, ``$$`` is a dollar."""

    def replacement(found: re.Match[str]) -> str:
        return "$" if found[1] == "$" else values.get(found[2], found[0])

    return _REFERENCE.sub(replacement, text)


def config_map_bytes(config_map: ConfigMap) -> dict[str, bytes]:
    """All keys of a ConfigMap."""
    binary = {key: base64.b64decode(text) for key, text in config_map.binary_data.items()}
    return {key: text.encode() for key, text in config_map.data.items()} | binary


def secret_bytes(secret: Secret) -> dict[str, bytes]:
    """All keys of a Secret."""
    return {key: base64.b64decode(text) for key, text in secret.data.items()}


def build_environment(pod: Pod, container: Container, around: Surroundings) -> dict[str, str]:
    """The variables of ``container``. Raises ConfigError."""
    result = service_variables(pod, around.services)
    for source in container.env_from:
        result |= {source.prefix + key: value for key, value in _all_keys(source, around).items()}
    for variable in container.env:
        value = _value(pod, container, variable, around) if variable.value_from else expand(variable.value, result)
        if value is not None:
            result[variable.name] = value
    return result


def with_given(own: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The container's ``own`` variables before what the node has ``given`` it.

    What programs read in small and in capital letters, as a proxy's address, is the container's in both.
    """
    return {name: value for name, value in given.items() if name.swapcase() not in own} | dict(own)


def _all_keys(source: EnvFromSource, around: Surroundings) -> Mapping[str, str]:
    if (reference := source.config_map_ref) is not None:
        config_map = around.config_maps.get(reference.name)
        if config_map is not None:
            return config_map.data
        missing = f'configmap "{reference.name}" not found'
    elif (reference := source.secret_ref) is not None:
        secret = around.secrets.get(reference.name)
        if secret is not None:
            return {key: _text(value) for key, value in secret_bytes(secret).items()}
        missing = f'secret "{reference.name}" not found'
    else:
        return {}
    if reference.optional:
        return {}
    raise ConfigError(missing)


def _text(value: bytes) -> str:
    """As an environment can carry it: any bytes but zero."""
    return value.decode("utf-8", "surrogateescape")


def _value(pod: Pod, container: Container, variable: EnvVar, around: Surroundings) -> str | None:
    """What ``valueFrom`` means; None leaves the variable out."""
    source = variable.value_from
    if source is None:
        return variable.value
    if source.field_ref is not None:
        return field_value(pod, source.field_ref.field_path, around)
    if source.resource_field_ref is not None:
        return resource_value(pod, container, source.resource_field_ref, around)
    namespace = pod.metadata.namespace
    if (selector := source.config_map_key_ref) is not None:
        what, kind, held = "configmap", "ConfigMap", around.config_maps.get(selector.name)
        keys = None if held is None else {key: text.encode() for key, text in held.data.items()}
    elif (selector := source.secret_key_ref) is not None:
        what, kind, secret = "secret", "Secret", around.secrets.get(selector.name)
        keys = None if secret is None else secret_bytes(secret)
    else:
        raise ConfigError(f"variable {variable.name}: this node does not know where its value comes from")
    if keys is not None and selector.key in keys:
        return _text(keys[selector.key])
    if selector.optional:
        return None
    if keys is None:
        raise ConfigError(f'{what} "{selector.name}" not found')
    raise ConfigError(f"couldn't find key {selector.key} in {kind} {namespace}/{selector.name}")


def field_value(pod: Pod, path: str, around: Surroundings) -> str:
    """A field of the pod, as the downward API gives it. Raises ConfigError."""
    meta = pod.metadata
    if found := _SUBSCRIPT.match(path):
        values = meta.labels if found[1] == "metadata.labels" else meta.annotations
        return values.get(found[2], "")
    match path:
        case "metadata.labels":
            return _lines(meta.labels)
        case "metadata.annotations":
            return _lines(meta.annotations)
        case _:
            known = {
                "metadata.name": meta.name,
                "metadata.namespace": meta.namespace,
                "metadata.uid": meta.uid,
                "spec.nodeName": around.node_name,
                "spec.serviceAccountName": pod.spec.service_account_name,
                "status.hostIP": around.host_ip,
                "status.hostIPs": around.host_ip,
                "status.podIP": around.pod_ip,
                "status.podIPs": around.pod_ip,
            }
    if path not in known:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return known[path]


def _lines(values: Mapping[str, str]) -> str:
    """Labels or annotations as a file of the downward API has them."""
    return "\n".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in sorted(values.items()))


def resource_value(pod: Pod, container: Container, selector: ResourceFieldSelector, around: Surroundings) -> str:
    """A container's request or limit in units of the divisor, rounded up. Raises ConfigError."""
    if selector.container_name:
        named = next((each for each in pod.spec.every_container() if each.name == selector.container_name), None)
        if named is None:
            raise ConfigError(f"container {selector.container_name} not found")
        container = named
    kind, _, resource = selector.resource.partition(".")
    resources = container.resources
    if kind == "limits":
        text = resources.limits.get(resource) or around.allocatable.get(resource, "0")
    elif kind == "requests":
        text = resources.requests.get(resource, "0")
    else:
        raise ConfigError(f"unsupported container resource: {selector.resource}")
    divisor = parse_quantity(selector.divisor or "0") or 1
    value = parse_quantity(text) / divisor
    return str(-(-value.numerator // value.denominator))


def service_variables(pod: Pod, services: Sequence[Service]) -> dict[str, str]:
    """Where the Services of the pod's namespace are, and always where the API server is."""
    links = pod.spec.enable_service_links is not False
    namespace = pod.metadata.namespace
    chosen: dict[str, Service] = {}
    for service in services:
        if service.spec.cluster_ip in ("", HEADLESS):
            continue
        key = (service.metadata.namespace, service.metadata.name)
        if key == MASTER_SERVICE:
            chosen.setdefault(service.metadata.name, service)
        elif links and service.metadata.namespace == namespace:
            chosen[service.metadata.name] = service
    result: dict[str, str] = {}
    for service in chosen.values():
        result |= _variables_of(service)
    return result


def _variables_of(service: Service) -> dict[str, str]:
    prefix, ip, ports = _variable_name(service.metadata.name), service.spec.cluster_ip, service.spec.ports
    if not ports:
        return {}
    result = {f"{prefix}_SERVICE_HOST": ip, f"{prefix}_SERVICE_PORT": str(ports[0].port)}
    for index, port in enumerate(ports):
        protocol = port.protocol or "TCP"
        url = f"{protocol.lower()}://{ip}:{port.port}"
        here = f"{prefix}_PORT_{port.port}_{protocol}"
        if port.name:
            result[f"{prefix}_SERVICE_PORT_{_variable_name(port.name)}"] = str(port.port)
        if index == 0:
            result[f"{prefix}_PORT"] = url
        result |= {here: url, f"{here}_PROTO": protocol.lower(), f"{here}_PORT": str(port.port), f"{here}_ADDR": ip}
    return result


def _variable_name(name: str) -> str:
    return name.upper().replace("-", "_")
