"""metav1.Table of objects."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import orjson

from ketch.local.apiserver.custom.autoscaling import V1, as_v2
from ketch.local.apiserver.resources import PrinterColumn, ServedResource
from ketch.local.apiserver.tables import administration, core, pods, registrations, workloads
from ketch.local.apiserver.tables.columns import AGE, NAME, Cell, Column, Obj, since
from ketch.local.apiserver.tables.jsonpath import PathError, compiled

RBAC = "rbac.authorization.k8s.io"
ADMISSION = "admissionregistration.k8s.io"
ORDINARY: Sequence[Column] = (NAME, AGE)
COLUMNS: Mapping[str, Sequence[Column]] = {
    "/pods": pods.COLUMNS,
    "/services": core.SERVICE,
    "/endpoints": core.ENDPOINTS,
    "/namespaces": core.NAMESPACE,
    "/nodes": core.NODE,
    "/events": core.EVENT,
    "/configmaps": core.CONFIG_MAP,
    "/secrets": core.SECRET,
    "/serviceaccounts": core.SERVICE_ACCOUNT,
    "/persistentvolumes": core.VOLUME,
    "/persistentvolumeclaims": core.CLAIM,
    "/replicationcontrollers": workloads.REPLICA_SET,
    "/resourcequotas": administration.RESOURCE_QUOTA,
    "/limitranges": administration.CREATED,
    "/podtemplates": administration.POD_TEMPLATE,
    "apps/controllerrevisions": administration.REVISION,
    "apps/deployments": workloads.DEPLOYMENT,
    "apps/replicasets": workloads.REPLICA_SET,
    "apps/statefulsets": workloads.STATEFUL_SET,
    "apps/daemonsets": workloads.DAEMON_SET,
    "batch/jobs": workloads.JOB,
    "batch/cronjobs": workloads.CRON_JOB,
    "autoscaling/horizontalpodautoscalers": workloads.AUTOSCALER,
    "policy/poddisruptionbudgets": workloads.DISRUPTION_BUDGET,
    "coordination.k8s.io/leases": core.LEASE,
    "discovery.k8s.io/endpointslices": core.ENDPOINT_SLICE,
    "networking.k8s.io/ingresses": core.INGRESS,
    "networking.k8s.io/ingressclasses": administration.INGRESS_CLASS,
    "networking.k8s.io/networkpolicies": administration.NETWORK_POLICY,
    "node.k8s.io/runtimeclasses": administration.RUNTIME_CLASS,
    "scheduling.k8s.io/priorityclasses": core.PRIORITY_CLASS,
    "storage.k8s.io/storageclasses": core.STORAGE_CLASS,
    "storage.k8s.io/csidrivers": administration.DRIVER,
    "storage.k8s.io/csinodes": administration.NODE_DRIVERS,
    "storage.k8s.io/volumeattachments": administration.ATTACHMENT,
    f"{ADMISSION}/mutatingwebhookconfigurations": administration.WEBHOOKS,
    f"{ADMISSION}/validatingwebhookconfigurations": administration.WEBHOOKS,
    f"{ADMISSION}/validatingadmissionpolicies": administration.VALIDATING_POLICY,
    f"{ADMISSION}/validatingadmissionpolicybindings": administration.POLICY_BINDING,
    f"{ADMISSION}/mutatingadmissionpolicies": administration.MUTATING_POLICY,
    f"{ADMISSION}/mutatingadmissionpolicybindings": administration.POLICY_BINDING,
    f"{RBAC}/roles": core.ROLE,
    f"{RBAC}/clusterroles": core.ROLE,
    f"{RBAC}/rolebindings": core.BINDING,
    f"{RBAC}/clusterrolebindings": core.BINDING,
    "apiextensions.k8s.io/customresourcedefinitions": core.DEFINITION,
    "apiregistration.k8s.io/apiservices": registrations.API_SERVICE,
    "certificates.k8s.io/certificatesigningrequests": registrations.SIGNING_REQUEST,
    "flowcontrol.apiserver.k8s.io/flowschemas": registrations.FLOW_SCHEMA,
    "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations": registrations.PRIORITY_LEVEL,
}


def _shown(value: Any) -> Any:
    return orjson.dumps(value).decode() if isinstance(value, dict | list) else value


def _custom_cell(column: PrinterColumn) -> Cell:
    try:
        find = compiled(column.json_path)
    except PathError:
        return lambda obj, now: None  # a path that says nothing shows nothing

    def cell(obj: Obj, now: datetime) -> Any:
        found = find(obj)
        if not found:
            return None
        if column.type == "date":
            return since(found[0], now)
        if column.type == "string":
            texts = [item if isinstance(item, str) else _shown(item) for item in found]
            return ",".join(str(item).lower() if isinstance(item, bool) else str(item) for item in texts)
        return found[0]

    return cell


@cache  # resources are made anew when their definition changes, so that nothing here grows stale
def columns_of(columns: tuple[PrinterColumn, ...]) -> Sequence[Column]:
    """A custom resource's columns: its name, and what its definition adds (its age when that is nothing)."""
    if not columns:
        return ORDINARY
    own = [
        Column(item.name, _custom_cell(item), item.type, item.format, item.priority, item.description)
        for item in columns
    ]
    return (NAME, *own)


def table(
    resource: ServedResource, objects: Sequence[Obj], meta: Mapping[str, Any], include: str, now: datetime
) -> dict[str, Any]:
    """A metav1.Table; ``include`` says what each row carries besides: None, Metadata or Object."""
    columns = columns_of(resource.columns) if resource.custom else COLUMNS.get(resource.storage, ORDINARY)
    rows: list[dict[str, Any]] = []
    for obj in objects:
        seen = as_v2(obj) if resource.api_version == V1 else obj
        row: dict[str, Any] = {"cells": [column.cell(seen, now) for column in columns]}
        if include == "Object":
            row["object"] = obj
        elif include != "None":
            kind = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
            row["object"] = {**kind, "metadata": obj["metadata"]}
        rows.append(row)
    definitions = [column.definition() for column in columns]
    identity = {"kind": "Table", "apiVersion": "meta.k8s.io/v1"}
    return {**identity, "metadata": meta, "columnDefinitions": definitions, "rows": rows}
