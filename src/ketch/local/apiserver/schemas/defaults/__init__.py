"""Defaults of built-in kinds that OpenAPI does not carry, as kube-apiserver sets them; one module per API group.

Law: functions change the fresh object they are given, set only what is absent, and are idempotent.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ketch.local.apiserver.schemas.defaults import admission, batch, cluster, core, workloads

Default = Callable[[dict[str, Any]], None]

_DEFAULTS: Mapping[tuple[str, str], Default] = {
    ("", "Pod"): core.pod,
    ("", "PodTemplate"): core.pod_template_holder,
    ("", "ReplicationController"): workloads.replica_set,
    ("", "Service"): core.service,
    ("", "Secret"): core.secret,
    ("", "PersistentVolume"): core.persistent_volume,
    ("", "PersistentVolumeClaim"): core.persistent_volume_claim,
    ("", "Namespace"): core.namespace,
    ("apps", "Deployment"): workloads.deployment,
    ("apps", "ReplicaSet"): workloads.replica_set,
    ("apps", "StatefulSet"): workloads.stateful_set,
    ("apps", "DaemonSet"): workloads.daemon_set,
    ("batch", "Job"): batch.job,
    ("batch", "CronJob"): batch.cron_job,
    ("rbac.authorization.k8s.io", "RoleBinding"): cluster.binding,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): cluster.binding,
    ("storage.k8s.io", "StorageClass"): cluster.storage_class,
    ("scheduling.k8s.io", "PriorityClass"): cluster.priority_class,
    ("networking.k8s.io", "NetworkPolicy"): cluster.network_policy,
    ("autoscaling", "HorizontalPodAutoscaler"): cluster.autoscaler,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): cluster.custom_resource_definition,
    ("discovery.k8s.io", "EndpointSlice"): cluster.endpoint_slice,
    ("", "LimitRange"): core.limit_range,
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): admission.mutating_webhooks,
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): admission.webhooks,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): admission.policy,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"): admission.binding,
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"): admission.mutating_policy,
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"): admission.binding,
}


def default_for(group: str, kind: str) -> Default | None:
    """The function that completes objects of ``kind``; None when there is nothing to set."""
    return _DEFAULTS.get((group, kind))
