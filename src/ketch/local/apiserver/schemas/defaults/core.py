"""Defaults of the core group: pods above all."""

from collections.abc import Iterator
from typing import Any, cast

from ketch.local.apiserver.absent import NOTHING

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
    for name in ("initContainers", "containers", "ephemeralContainers"):
        for each in dicts(spec.get(name)):
            _container(each)
    for volume in dicts(spec.get("volumes")):
        _volume(volume)
    if "serviceAccountName" in spec:
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    elif "serviceAccount" in spec:
        spec["serviceAccountName"] = spec["serviceAccount"]
    if spec.get("hostNetwork"):
        for each in dicts(spec.get("containers")):
            for port in dicts(each.get("ports")):
                port.setdefault("hostPort", port.get("containerPort"))


def dicts(items: Any) -> Iterator[Obj]:
    """The elements that are objects; what else stands there is for validation to name."""
    if isinstance(items, list):
        yield from (cast("Obj", item) for item in cast("list[Any]", items) if isinstance(item, dict))


def fill(value: Any, **defaults: Any) -> None:
    """Set what is absent, if ``value`` is an object."""
    if isinstance(value, dict):
        fields = cast("Obj", value)
        for name, item in defaults.items():
            fields.setdefault(name, item)


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
    if resources.get("limits"):
        resources["requests"] = {**resources["limits"], **(resources.get("requests") or NOTHING)}
    for port in dicts(container.get("ports")):
        port.setdefault("protocol", "TCP")
    for probe in dicts([container.get(name) for name in PROBES]):
        _probe(probe)
    hooks = container.get("lifecycle") or NOTHING
    for hook in dicts([hooks.get("postStart"), hooks.get("preStop")]):
        _handler(hook)
    for variable in dicts(container.get("env")):
        fill((variable.get("valueFrom") or NOTHING).get("fieldRef"), apiVersion="v1")


def _handler(handler: Obj) -> None:
    fill(handler.get("httpGet"), path="/", scheme="HTTP")
    fill(handler.get("grpc"), service="")


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
        fill(volume.get(name), defaultMode=FILE_MODE)
    fill(volume.get("hostPath"), type="")
    sources: list[Any] = [volume.get("downwardAPI")]
    for source in dicts((volume.get("projected") or NOTHING).get("sources")):
        fill(source.get("serviceAccountToken"), expirationSeconds=TOKEN_SECONDS)
        sources.append(source.get("downwardAPI"))
    for source in dicts(sources):
        for item in dicts(source.get("items")):
            fill(item.get("fieldRef"), apiVersion="v1")
    for claim in dicts([(volume.get("ephemeral") or NOTHING).get("volumeClaimTemplate")]):
        persistent_volume_claim(claim)


def service(obj: Obj) -> None:
    """A Service."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["sessionAffinity"] == "ClientIP":
        spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {}).setdefault("timeoutSeconds", 10800)
    for port in dicts(spec.get("ports")):
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
    fill(spec.get("hostPath"), type="")


def persistent_volume_claim(obj: Obj) -> None:
    """A PersistentVolumeClaim, or the template of one."""
    obj.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")


def namespace(obj: Obj) -> None:
    """A Namespace carries its own name as a label."""
    name = obj.get("metadata", NOTHING).get("name")
    if name:
        meta = obj["metadata"]
        meta["labels"] = {**(meta.get("labels") or NOTHING), "kubernetes.io/metadata.name": name}


def limit_range(obj: Obj) -> None:
    """A LimitRange: what is not said follows from what is."""
    for item in dicts(obj.setdefault("spec", {}).get("limits")):
        if item.get("type") != "Container":
            continue
        given: dict[str, Obj] = {name: item.get(name) or {} for name in ("max", "min", "default", "defaultRequest")}
        default = {**given["max"], **given["default"]}
        requests = {**given["min"], **default, **given["defaultRequest"]}
        if default:
            item["default"] = default
        if requests:
            item["defaultRequest"] = requests
