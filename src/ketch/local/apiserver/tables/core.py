"""The core group and its neighbours as rows."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.tables.columns import (
    AGE,
    NAME,
    NONE,
    UNKNOWN,
    UNSET,
    Column,
    Obj,
    at,
    field,
    joined,
    labels_text,
    since,
)

Columns = Sequence[Column]
ROLE_PREFIX = "node-role.kubernetes.io/"
MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
MOST_ENDPOINTS = 3


def _secrets(obj: Obj, now: datetime) -> int:  # cells take a time
    return len(obj.get("secrets") or NO_ITEMS)


def _service_ports(obj: Obj, now: datetime) -> str:  # cells take a time
    def one(port: Mapping[str, Any]) -> str:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        return f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}"

    return joined(map(one, at(obj, "spec", "ports", default=NO_ITEMS)))


def _external(obj: Obj, now: datetime) -> str:  # cells take a time
    kind, addresses = at(obj, "spec", "type"), at(obj, "spec", "externalIPs", default=NO_ITEMS)
    if kind == "ExternalName":
        return str(at(obj, "spec", "externalName"))
    if kind != "LoadBalancer":
        return joined(addresses)
    ingress = at(obj, "status", "loadBalancer", "ingress", default=NO_ITEMS)
    return joined([*(each.get("ip") or each.get("hostname", "") for each in ingress), *addresses], "<pending>")


def _service_selector(obj: Obj, now: datetime) -> str:  # cells take a time
    return labels_text(at(obj, "spec", "selector", default=NOTHING))


SERVICE: Columns = (
    NAME,
    Column("Type", field("spec", "type")),
    Column("Cluster-IP", field("spec", "clusterIP", default=NONE)),
    Column("External-IP", _external),
    Column("Port(s)", _service_ports),
    AGE,
    Column("Selector", _service_selector, priority=1),
)


def _endpoints(obj: Obj, now: datetime) -> str:  # cells take a time
    found: list[str] = []
    for subset in at(obj, "subsets", default=NO_ITEMS):
        for address in subset.get("addresses") or NO_ITEMS:
            ports = subset.get("ports") or NO_ITEMS
            found += [f"{address['ip']}:{port['port']}" for port in ports] or [str(address["ip"])]
    more = f" + {len(found) - MOST_ENDPOINTS} more..." if len(found) > MOST_ENDPOINTS else ""
    return joined(found[:MOST_ENDPOINTS]) + more


ENDPOINTS: Columns = (NAME, Column("Endpoints", _endpoints), AGE)


def _slice_ports(obj: Obj, now: datetime) -> str:  # cells take a time
    return joined((port.get("port", "*") for port in at(obj, "ports", default=NO_ITEMS)), UNSET)


def _slice_endpoints(obj: Obj, now: datetime) -> str:  # cells take a time
    found = [
        address for each in at(obj, "endpoints", default=NO_ITEMS) for address in each.get("addresses") or NO_ITEMS
    ]
    more = f" + {len(found) - MOST_ENDPOINTS} more..." if len(found) > MOST_ENDPOINTS else ""
    return joined(found[:MOST_ENDPOINTS], UNSET) + more


ENDPOINT_SLICE: Columns = (
    NAME,
    Column("AddressType", field("addressType")),
    Column("Ports", _slice_ports),
    Column("Endpoints", _slice_endpoints),
    AGE,
)
NAMESPACE: Columns = (NAME, Column("Status", field("status", "phase")), AGE)


def _node_status(obj: Obj, now: datetime) -> str:  # cells take a time
    conditions = {item.get("type"): item.get("status") for item in at(obj, "status", "conditions", default=NO_ITEMS)}
    words = ["Ready" if conditions.get("Ready") == "True" else "NotReady"] if "Ready" in conditions else ["Unknown"]
    if at(obj, "spec", "unschedulable", default=False):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _roles(obj: Obj, now: datetime) -> str:  # cells take a time
    labels = at(obj, "metadata", "labels", default=NOTHING)
    return joined(sorted(key.removeprefix(ROLE_PREFIX) for key in labels if key.startswith(ROLE_PREFIX)))


def _address(kind: str) -> Any:
    def cell(obj: Obj, now: datetime) -> str:  # cells take a time
        found = [
            each["address"] for each in at(obj, "status", "addresses", default=NO_ITEMS) if each.get("type") == kind
        ]
        return str(found[0]) if found else NONE

    return cell


NODE: Columns = (
    NAME,
    Column("Status", _node_status),
    Column("Roles", _roles),
    AGE,
    Column("Version", field("status", "nodeInfo", "kubeletVersion")),
    Column("Internal-IP", _address("InternalIP"), priority=1),
    Column("External-IP", _address("ExternalIP"), priority=1),
    Column("OS-Image", field("status", "nodeInfo", "osImage", default=UNKNOWN), priority=1),
    Column("Kernel-Version", field("status", "nodeInfo", "kernelVersion", default=UNKNOWN), priority=1),
    Column("Container-Runtime", field("status", "nodeInfo", "containerRuntimeVersion", default=UNKNOWN), priority=1),
)


def _event_time(*names: str) -> Any:
    def cell(obj: Obj, now: datetime) -> str:
        found = next((obj[each] for each in names if obj.get(each)), None)
        return since(found, now)

    return cell


def _last_seen(obj: Obj, now: datetime) -> str:
    series = at(obj, "series", "lastObservedTime")
    last = series or obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp") or obj.get("eventTime")
    first = obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp") or obj.get("eventTime")
    count = at(obj, "series", "count", default=obj.get("count") or obj.get("deprecatedCount") or 1)
    return f"{since(last, now)} (x{count} over {since(first, now)})" if count > 1 else since(last, now)


def _involved(obj: Obj) -> Mapping[str, Any]:
    return obj.get("involvedObject") or obj.get("regarding") or NOTHING


def _event_object(obj: Obj, now: datetime) -> str:  # cells take a time
    involved = _involved(obj)
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


def _source(obj: Obj, now: datetime) -> str:  # cells take a time
    source = obj.get("source") or obj.get("deprecatedSource") or NOTHING
    component = source.get("component") or obj.get("reportingComponent") or obj.get("reportingController") or ""
    return joined(filter(None, (component, source.get("host"))), "")


def _subobject(obj: Obj, now: datetime) -> str:  # cells take a time
    return str(_involved(obj).get("fieldPath", ""))


def _event_count(obj: Obj, now: datetime) -> int:  # cells take a time
    return int(obj.get("count") or obj.get("deprecatedCount") or 1)


def _message(obj: Obj, now: datetime) -> str:  # cells take a time
    return str(obj.get("message") or obj.get("note") or "").strip()


EVENT: Columns = (
    Column("Last Seen", _last_seen),
    Column("Type", field("type")),
    Column("Reason", field("reason")),
    Column("Object", _event_object),
    Column("Subobject", _subobject, priority=1),
    Column("Source", _source, priority=1),
    Column("Message", _message),
    Column("First Seen", _event_time("firstTimestamp", "deprecatedFirstTimestamp", "eventTime"), priority=1),
    Column("Count", _event_count, priority=1),
    Column("Name", NAME.cell, "string", "name", priority=1),
)


def _data_size(obj: Obj, now: datetime) -> int:  # cells take a time
    return len(obj.get("data") or NO_ITEMS) + len(obj.get("binaryData") or NO_ITEMS)


CONFIG_MAP: Columns = (NAME, Column("Data", _data_size, "integer"), AGE)
SECRET: Columns = (NAME, Column("Type", field("type")), Column("Data", _data_size, "integer"), AGE)
SERVICE_ACCOUNT: Columns = (NAME, Column("Secrets", _secrets, "integer"), AGE)


def _modes(*path: str) -> Any:
    def cell(obj: Obj, now: datetime) -> str:  # cells take a time
        return joined((MODES.get(mode, mode) for mode in at(obj, *path, default=NO_ITEMS)), "")

    return cell


def _volume_status(obj: Obj, now: datetime) -> str:  # cells take a time
    return "Terminating" if "deletionTimestamp" in obj["metadata"] else str(at(obj, "status", "phase"))


def _claim(obj: Obj, now: datetime) -> str:  # cells take a time
    claim = at(obj, "spec", "claimRef", default=NOTHING)
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""


VOLUME: Columns = (
    NAME,
    Column("Capacity", field("spec", "capacity", "storage")),
    Column("Access Modes", _modes("spec", "accessModes")),
    Column("Reclaim Policy", field("spec", "persistentVolumeReclaimPolicy")),
    Column("Status", _volume_status),
    Column("Claim", _claim),
    Column("StorageClass", field("spec", "storageClassName")),
    Column("VolumeAttributesClass", field("spec", "volumeAttributesClassName", default=UNSET)),
    Column("Reason", field("status", "reason")),
    AGE,
    Column("VolumeMode", field("spec", "volumeMode", default=UNSET), priority=1),
)
CLAIM: Columns = (
    NAME,
    Column("Status", _volume_status),
    Column("Volume", field("spec", "volumeName")),
    Column("Capacity", field("status", "capacity", "storage")),
    Column("Access Modes", _modes("status", "accessModes")),
    Column("StorageClass", field("spec", "storageClassName")),
    Column("VolumeAttributesClass", field("spec", "volumeAttributesClassName", default=UNSET)),
    AGE,
    Column("VolumeMode", field("spec", "volumeMode", default=UNSET), priority=1),
)


def _class_name(obj: Obj, now: datetime) -> str:  # cells take a time
    default = at(obj, "metadata", "annotations", DEFAULT_CLASS) == "true"
    return f"{obj['metadata']['name']} (default)" if default else str(obj["metadata"]["name"])


def _expansion(obj: Obj, now: datetime) -> str:  # cells take a time
    return "true" if obj.get("allowVolumeExpansion") else "false"


STORAGE_CLASS: Columns = (
    Column("Name", _class_name, "string", "name"),
    Column("Provisioner", field("provisioner")),
    Column("ReclaimPolicy", field("reclaimPolicy", default="Delete")),
    Column("VolumeBindingMode", field("volumeBindingMode", default="Immediate")),
    Column("AllowVolumeExpansion", _expansion),
    AGE,
)
LEASE: Columns = (NAME, Column("Holder", field("spec", "holderIdentity")), AGE)
PRIORITY_CLASS: Columns = (
    NAME,
    Column("Value", field("value", default=0), "integer"),
    Column("Global-Default", field("globalDefault", default=False), "boolean"),
    AGE,
    Column("PreemptionPolicy", field("preemptionPolicy")),
)


def _hosts(obj: Obj, now: datetime) -> str:  # cells take a time
    return joined((rule.get("host") or "*" for rule in at(obj, "spec", "rules", default=NO_ITEMS)), "*")


def _ingress_address(obj: Obj, now: datetime) -> str:  # cells take a time
    ingress = at(obj, "status", "loadBalancer", "ingress", default=NO_ITEMS)
    return joined((each.get("ip") or each.get("hostname", "") for each in ingress), "")


def _ingress_ports(obj: Obj, now: datetime) -> str:  # cells take a time
    return "80, 443" if at(obj, "spec", "tls", default=NO_ITEMS) else "80"


INGRESS: Columns = (
    NAME,
    Column("Class", field("spec", "ingressClassName", default=NONE)),
    Column("Hosts", _hosts),
    Column("Address", _ingress_address),
    Column("Ports", _ingress_ports),
    AGE,
)
ROLE: Columns = (NAME, Column("Created At", field("metadata", "creationTimestamp")))


def _role(obj: Obj, now: datetime) -> str:  # cells take a time
    role = obj.get("roleRef") or NOTHING
    return f"{role.get('kind', '')}/{role.get('name', '')}"


def _subjects(kind: str) -> Any:
    def cell(obj: Obj, now: datetime) -> str:  # cells take a time
        found = [each for each in obj.get("subjects") or NO_ITEMS if each.get("kind") == kind]
        return ", ".join(
            f"{each['namespace']}/{each['name']}" if each.get("namespace") else str(each["name"]) for each in found
        )

    return cell


BINDING: Columns = (
    NAME,
    Column("Role", _role),
    AGE,
    Column("Users", _subjects("User"), priority=1),
    Column("Groups", _subjects("Group"), priority=1),
    Column("ServiceAccounts", _subjects("ServiceAccount"), priority=1),
)
DEFINITION: Columns = (NAME, Column("Created At", field("metadata", "creationTimestamp")))
