"""Defaults of the core group: pods above all."""

from collections.abc import Iterator
from typing import Any

Obj = dict[str, Any]
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
FILE_MODE = 0o644
TOKEN_SECONDS = 3600


def pod(obj: Obj) -> None:
    """A Pod."""
    pod_spec(obj.setdefault("spec", {}))


def pod_template_holder(obj: Obj) -> None:
    """A PodTemplate."""
    pod_spec(obj.setdefault("template", {}).setdefault("spec", {}))


def pod_spec(spec: Obj) -> None:
    """The spec of a Pod or of a template."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    for name in ("initContainers", "containers"):
        for each in _dicts(spec.get(name)):
            _container(each)
    for volume in _dicts(spec.get("volumes")):
        _volume(volume)
    if "serviceAccountName" in spec:
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    elif "serviceAccount" in spec:
        spec["serviceAccountName"] = spec["serviceAccount"]
    if spec.get("hostNetwork"):
        for each in _dicts(spec.get("containers")):
            for port in _dicts(each.get("ports")):
                port.setdefault("hostPort", port.get("containerPort"))


def _dicts(items: Any) -> Iterator[Obj]:
    """The elements that are objects; what else stands there is for validation to name."""
    if isinstance(items, list):
        yield from (item for item in items if isinstance(item, dict))  # pyright: ignore[reportUnknownVariableType]


def _pull_policy(image: str) -> str:
    name = image.rpartition("/")[2]
    if "@" in name:
        return "IfNotPresent"
    tag = name.partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _container(container: Obj) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", _pull_policy(str(container.get("image", ""))))
    resources = container.setdefault("resources", {})
    if isinstance(resources.get("limits"), dict) and resources["limits"]:
        resources["requests"] = {**resources["limits"], **(resources.get("requests") or {})}
    for port in _dicts(container.get("ports")):
        port.setdefault("protocol", "TCP")
    for name in PROBES:
        if isinstance(container.get(name), dict):
            _probe(container[name])
    hooks = container.get("lifecycle") or {}
    for name in ("postStart", "preStop"):
        if isinstance(hooks.get(name), dict):
            _handler(hooks[name])
    for variable in _dicts(container.get("env")):
        field = (variable.get("valueFrom") or {}).get("fieldRef")
        if isinstance(field, dict):
            field.setdefault("apiVersion", "v1")


def _handler(handler: Obj) -> None:
    if isinstance(request := handler.get("httpGet"), dict):
        request.setdefault("path", "/")
        request.setdefault("scheme", "HTTP")
    if isinstance(request := handler.get("grpc"), dict):
        request.setdefault("service", "")


def _probe(probe: Obj) -> None:
    _handler(probe)
    probe.setdefault("timeoutSeconds", 1)
    probe.setdefault("periodSeconds", 10)
    probe.setdefault("successThreshold", 1)
    probe.setdefault("failureThreshold", 3)


def _volume(volume: Obj) -> None:
    if len(volume) == 1 and "name" in volume:
        volume["emptyDir"] = {}
    for name in ("configMap", "secret", "downwardAPI", "projected"):
        if isinstance(source := volume.get(name), dict):
            source.setdefault("defaultMode", FILE_MODE)
    if isinstance(path := volume.get("hostPath"), dict):
        path.setdefault("type", "")
    sources = [volume.get("downwardAPI")]
    for source in _dicts((volume.get("projected") or {}).get("sources")):
        if isinstance(token := source.get("serviceAccountToken"), dict):
            token.setdefault("expirationSeconds", TOKEN_SECONDS)
        sources.append(source.get("downwardAPI"))
    for source in _dicts(sources):
        for item in _dicts(source.get("items")):
            if isinstance(field := item.get("fieldRef"), dict):
                field.setdefault("apiVersion", "v1")
    claim = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
    if isinstance(claim, dict):
        persistent_volume_claim(claim)


def service(obj: Obj) -> None:
    """A Service."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["sessionAffinity"] == "ClientIP":
        spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {}).setdefault("timeoutSeconds", 10800)
    for port in _dicts(spec.get("ports")):
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port")
    if spec["type"] != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def secret(obj: Obj) -> None:
    """A Secret."""
    obj.setdefault("type", "Opaque")


def persistent_volume(obj: Obj) -> None:
    """A PersistentVolume."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    spec.setdefault("volumeMode", "Filesystem")
    if isinstance(path := spec.get("hostPath"), dict):
        path.setdefault("type", "")


def persistent_volume_claim(obj: Obj) -> None:
    """A PersistentVolumeClaim, or the template of one."""
    obj.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")


def namespace(obj: Obj) -> None:
    """A Namespace carries its own name as a label."""
    name = obj.get("metadata", {}).get("name")
    if name:
        meta = obj["metadata"]
        meta["labels"] = {**(meta.get("labels") or {}), "kubernetes.io/metadata.name": name}
