"""Pods: what the server adds, what may change, and how long a deleted one lives on."""

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from ketch.kube.causes import forbidden, invalid, required, unsupported
from ketch.kube.codec import format_time
from ketch.kube.errors import Cause, Forbidden
from ketch.kube.placement import Placement
from ketch.kube.quantities import QuantityError, parse_quantity
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.metadata import DNS_LABEL, LABEL_MESSAGE, SUFFIX_ALPHABET
from ketch.local.apiserver.strategies.base import Context, Obj, Strategy
from ketch.local.apiserver.strategies.containers import (
    below_causes,
    host_path_causes,
    identity_causes,
    life_causes,
    sharing_causes,
)
from ketch.local.apiserver.strategies.ephemeral import EPHEMERAL_SUBRESOURCE, ephemeral_causes, only_ephemeral
from ketch.local.apiserver.strategies.limits import complete_pod, joined, pod_troubles

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105  # a place, no secret  # a place, no secret
ENVIRONMENT_NAME = re.compile(r"^[^=\x00-\x1f\x7f]+$")
MUTABLE = frozenset({"activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates"})
TERMINAL = ("Succeeded", "Failed")
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
EVICTION_SECONDS = 300


def quality_of_service(spec: Mapping[str, Any]) -> str:
    """Guaranteed, Burstable or BestEffort, by the containers' cpu and memory."""
    any_set, guaranteed = False, True
    for container in (*spec.get("containers", NO_ITEMS), *spec.get("initContainers", NO_ITEMS)):
        resources = container.get("resources") or NOTHING
        limits, requests = resources.get("limits") or NOTHING, resources.get("requests") or NOTHING
        for name in ("cpu", "memory"):
            any_set = any_set or name in limits or name in requests
            if name not in limits or requests.get(name, limits[name]) != limits[name]:
                guaranteed = False
    return ("Guaranteed" if guaranteed else "Burstable") if any_set else "BestEffort"


def _token_volume(name: str) -> Obj:
    items = [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": items}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 0o644}}


class PodStrategy(Strategy):
    """core/v1 Pod. ``placement`` may give new ones their node."""

    def __init__(self) -> None:
        self.placement: Placement | None = None

    def prepare_update(self, obj: Obj, old: Mapping[str, Any], context: Context) -> None:
        """Of a write to a subresource only that part of the pod counts."""
        if context.subresource == EPHEMERAL_SUBRESOURCE:
            only_ephemeral(obj, old)

    def prepare_create(self, obj: Obj, context: Context) -> None:
        """Service account and its token, tolerations, priority, first status."""
        spec = obj["spec"]
        ranges = context.listing("/limitranges", obj["metadata"]["namespace"])
        if ranges:
            complete_pod(spec, ranges)
            if troubles := pod_troubles(spec, ranges):
                raise Forbidden(f'pods "{obj["metadata"].get("name", "")}" is forbidden: {joined(troubles)}')
        obj["status"] = {"phase": "Pending", "qosClass": quality_of_service(spec)}
        self._service_account(obj, context)
        self._tolerations(spec)
        self._priority(obj, context)
        spec.setdefault("enableServiceLinks", True)
        if self.placement is not None and not context.dry_run and not spec.get("nodeName"):
            _place(obj, self.placement, context.now)

    def abandoned(self, obj: Mapping[str, Any]) -> None:
        """Its room is free again."""
        if self.placement is not None:
            self.placement.withdraw(obj["metadata"]["uid"])

    def _service_account(self, obj: Obj, context: Context) -> None:
        spec, namespace = obj["spec"], obj["metadata"]["namespace"]
        name = spec.setdefault("serviceAccountName", "default")
        spec["serviceAccount"] = name
        account = context.newest("/serviceaccounts", namespace, name)
        if account is None:
            if name == "default":
                # Its controller makes it in a moment; a pod created right after its namespace need not fail for that.
                account = NOTHING
            else:
                raise Forbidden(
                    f'pods "{obj["metadata"].get("name", "")}" is forbidden: error looking up service account '
                    f'{namespace}/{name}: serviceaccount "{name}" not found'
                )
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(each) for each in account["imagePullSecrets"]]
        mount = spec.get("automountServiceAccountToken", account.get("automountServiceAccountToken", True))
        if not mount or "kubernetes.io/config.mirror" in (obj["metadata"].get("annotations") or NOTHING):
            return
        containers = [*spec.get("containers", NO_ITEMS), *spec.get("initContainers", NO_ITEMS)]
        without = [
            each
            for each in containers
            if all(item.get("mountPath") != TOKEN_PATH for item in each.get("volumeMounts") or NO_ITEMS)
        ]
        if not without:
            return
        volume = "kube-api-access-" + "".join(secrets.choice(SUFFIX_ALPHABET) for _ in range(5))
        spec["volumes"] = [*(spec.get("volumes") or NO_ITEMS), _token_volume(volume)]
        for each in without:
            mount_point = {"name": volume, "readOnly": True, "mountPath": TOKEN_PATH}
            each["volumeMounts"] = [*(each.get("volumeMounts") or NO_ITEMS), mount_point]

    def _tolerations(self, spec: Obj) -> None:
        tolerations = list(spec.get("tolerations") or NO_ITEMS)
        for key in (NOT_READY, UNREACHABLE):
            if not any(item.get("key") in (key, None, "") for item in tolerations):
                tolerations.append(
                    {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": EVICTION_SECONDS}
                )
        spec["tolerations"] = tolerations

    def _priority(self, obj: Obj, context: Context) -> None:
        spec, name = obj["spec"], obj["spec"].get("priorityClassName")
        if name:
            found = context.newest("scheduling.k8s.io/priorityclasses", "", name)
            if found is None:
                pod = obj["metadata"].get("name", "")
                raise Forbidden(f'pods "{pod}" is forbidden: no PriorityClass with name {name} was found')
        else:
            classes = context.listing("scheduling.k8s.io/priorityclasses", None)
            found = next((item for item in classes if item.get("globalDefault")), None)
        spec["priority"] = found["value"] if found else 0
        spec["preemptionPolicy"] = (
            found.get("preemptionPolicy", "PreemptLowerPriority") if found else "PreemptLowerPriority"
        )

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """Rules between fields; and what an update may not change."""
        if context.subresource == EPHEMERAL_SUBRESOURCE and old is not None:
            return ephemeral_causes(obj["spec"], old["spec"])
        if old is not None:
            return _changes(obj["spec"], old["spec"])
        causes = pod_spec_causes(obj["spec"], "spec")
        if obj["spec"].get("ephemeralContainers"):
            message = "cannot be set on create"
            causes.append(forbidden("spec.ephemeralContainers", message))
        return causes

    def grace_seconds(self, obj: Mapping[str, Any], asked: int | None) -> int:
        """None for a pod that no node knows, or that has ended."""
        spec, phase = obj.get("spec", NOTHING), obj.get("status", NOTHING).get("phase")
        if not spec.get("nodeName") or phase in TERMINAL:
            return 0
        return spec.get("terminationGracePeriodSeconds", 30) if asked is None else asked


def _place(obj: Obj, placement: Placement, now: datetime) -> None:
    """Let the pod have its node from the beginning, if it can: as a binding leaves it."""
    if node := placement.place(obj):
        moment = format_time(now.replace(microsecond=0))
        obj["spec"]["nodeName"] = node
        obj["status"]["conditions"] = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": moment}]


def _changes(spec: Mapping[str, Any], old: Mapping[str, Any]) -> list[Cause]:
    def fixed(value: Mapping[str, Any]) -> dict[str, Any]:
        rest = {name: item for name, item in value.items() if name not in MUTABLE}
        for name in ("containers", "initContainers"):
            if name in rest:
                rest[name] = [{**each, "image": ""} for each in rest[name]]
        return rest

    if old is spec or fixed(spec) == fixed(old):
        return []
    message = (
        "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
        "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
    )
    return [Cause("FieldValueForbidden", message, "spec")]


def pod_spec_causes(spec: Mapping[str, Any], path: str, claims: Iterable[str] = ()) -> list[Cause]:
    """What is wrong with a pod's spec beyond its schema; also used for templates.

    ``claims`` are volumes that a StatefulSet's claim templates will add.
    """
    causes: list[Cause] = []
    if not spec.get("containers"):
        causes.append(required(f"{path}.containers"))
    volumes = _volume_causes(spec, path, causes).union(claims)
    names: set[str] = set()
    for kind in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(kind) or NO_ITEMS):
            where = f"{path}.{kind}[{index}]"
            _container_causes(container, where, volumes, names, causes)
            grace = spec.get("terminationGracePeriodSeconds")
            causes += life_causes(container, where, initial=kind == "initContainers", grace=grace)
            causes += identity_causes(container.get("securityContext") or NOTHING, f"{where}.securityContext")
    causes += identity_causes(spec.get("securityContext") or NOTHING, f"{path}.securityContext")
    causes += sharing_causes(spec, path)
    policies = ["Always", "OnFailure", "Never"]
    if spec.get("restartPolicy") not in policies:
        causes.append(unsupported(f"{path}.restartPolicy", spec.get("restartPolicy"), policies))
    if spec.get("dnsPolicy") not in ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"):
        supported = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]
        causes.append(unsupported(f"{path}.dnsPolicy", spec.get("dnsPolicy"), supported))
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        value = spec["terminationGracePeriodSeconds"]
        causes.append(invalid(f"{path}.terminationGracePeriodSeconds", value, "must be greater than or equal to 0"))
    return causes


def _volume_causes(spec: Mapping[str, Any], path: str, causes: list[Cause]) -> set[str]:
    names: set[str] = set()
    for index, volume in enumerate(spec.get("volumes") or NO_ITEMS):
        name, where = volume.get("name", ""), f"{path}.volumes[{index}]"
        if not name:
            causes.append(required(f"{where}.name"))
        elif not DNS_LABEL.match(name) or len(name) > 63:
            causes.append(invalid(f"{where}.name", name, LABEL_MESSAGE))
        if name in names:
            causes.append(Cause("FieldValueDuplicate", f'Duplicate value: "{name}"', f"{where}.name"))
        names.add(name)
        if (host := volume.get("hostPath")) is not None:
            causes += host_path_causes(host, f"{where}.hostPath")
        if len(volume) > 2:
            extra = sorted(key for key in volume if key != "name")[1]
            causes.append(
                Cause("FieldValueForbidden", "Forbidden: may not specify more than 1 volume type", f"{where}.{extra}")
            )
    return names


def _container_causes(
    container: Mapping[str, Any], path: str, volumes: set[str], names: set[str], causes: list[Cause]
) -> None:
    name = container.get("name", "")
    if not DNS_LABEL.match(name) or len(name) > 63:
        causes.append(invalid(f"{path}.name", name, LABEL_MESSAGE) if name else required(f"{path}.name"))
    if name in names:
        causes.append(Cause("FieldValueDuplicate", f'Duplicate value: "{name}"', f"{path}.name"))
    names.add(name)
    if not container.get("image"):
        causes.append(required(f"{path}.image"))
    policies = ["Always", "IfNotPresent", "Never"]
    if container.get("imagePullPolicy") not in policies:
        causes.append(unsupported(f"{path}.imagePullPolicy", container.get("imagePullPolicy"), policies))
    for index, port in enumerate(container.get("ports") or NO_ITEMS):
        number = port.get("containerPort")
        if not isinstance(number, int) or not 1 <= number <= 65535:
            message = "must be between 1 and 65535, inclusive"
            causes.append(invalid(f"{path}.ports[{index}].containerPort", number, message))
    _environment_causes(container, path, causes)
    _mount_causes(container, path, volumes, causes)
    _resource_causes(container.get("resources") or NOTHING, f"{path}.resources", causes)


def _environment_causes(container: Mapping[str, Any], path: str, causes: list[Cause]) -> None:
    for index, variable in enumerate(container.get("env") or NO_ITEMS):
        if not ENVIRONMENT_NAME.match(variable.get("name", "")):
            message = "a valid environment variable name must consist only of printable ASCII characters other than '='"
            causes.append(invalid(f"{path}.env[{index}].name", variable.get("name", ""), message))
        if variable.get("value") and variable.get("valueFrom"):
            message = "may not be specified when `value` is not empty"
            causes.append(invalid(f"{path}.env[{index}].valueFrom", "", message))


def _mount_causes(container: Mapping[str, Any], path: str, volumes: set[str], causes: list[Cause]) -> None:
    paths: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or NO_ITEMS):
        where = f"{path}.volumeMounts[{index}]"
        if mount.get("name") not in volumes:
            causes.append(Cause("FieldValueNotFound", f'Not found: "{mount.get("name", "")}"', f"{where}.name"))
        point = mount.get("mountPath", "")
        if not point:
            causes.append(required(f"{where}.mountPath"))
        if point in paths:
            causes.append(invalid(f"{where}.mountPath", point, "must be unique"))
        paths.add(point)
        causes += below_causes(mount, where)


def _resource_causes(resources: Mapping[str, Any], path: str, causes: list[Cause]) -> None:
    limits = resources.get("limits") or NOTHING
    for name, text in (resources.get("requests") or NOTHING).items():
        try:
            value = parse_quantity(text)
            over = name in limits and value > parse_quantity(limits[name])
        except QuantityError:
            continue  # the schema's check has named it
        if value < 0:
            causes.append(invalid(f"{path}.requests[{name}]", str(text), "must be greater than or equal to 0"))
        if over:
            message = f"must be less than or equal to {name} limit of {limits[name]}"
            causes.append(invalid(f"{path}.requests", str(text), message))
