"""The pods and services that a job should have. Pure; names follow from the job, so none is made twice."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from ketch.kube.meta import ObjectMeta
from ketch.kube.owners import controlled_by
from ketch.kube.types.autoscaling import AutoscalerSpec, HorizontalPodAutoscaler, ScaleTarget
from ketch.kube.types.containers import Container, ContainerPort
from ketch.kube.types.core import Service
from ketch.kube.types.podgroups import POD_GROUP_LABEL, PodGroup, PodGroupSpec
from ketch.kube.types.pods import Pod
from ketch.kube.types.services import HEADLESS, ServicePort, ServiceSpec
from ketch.training.checkpoints.resizing import world_mark
from ketch.training.jobs.framework import EXIT_CODE, NEVER, Group, JobKind, Replicas

OPERATOR_LABEL: Final = "training.kubeflow.org/operator-name"
JOB_LABEL: Final = "training.kubeflow.org/job-name"
TYPE_LABEL: Final = "training.kubeflow.org/replica-type"
INDEX_LABEL: Final = "training.kubeflow.org/replica-index"
ROLE_LABEL: Final = "training.kubeflow.org/job-role"


def job_labels(kind: JobKind[Any], group: Group[Any]) -> Mapping[str, str]:
    """What all pods and services of a job carry."""
    return {OPERATOR_LABEL: kind.operator, JOB_LABEL: group.name}


def replica_labels(kind: JobKind[Any], group: Group[Any], role: str, index: int) -> Mapping[str, str]:
    """What one replica's pod and service carry."""
    labels = {**job_labels(kind, group), TYPE_LABEL: role.lower(), INDEX_LABEL: str(index)}
    part = kind.job_role(group, role, index)
    return {**labels, ROLE_LABEL: part} if part else labels


def pods(kind: JobKind[Any], group: Group[Any]) -> Iterator[Pod]:
    """Every replica's pod."""
    for replicas in group.replicas:
        for index in range(replicas.count):
            yield pod_of(kind, group, replicas, index)


def pod_of(kind: JobKind[Any], group: Group[Any], replicas: Replicas, index: int) -> Pod:
    """One replica's pod: the template, told who it is and where the others are."""
    template, environment = replicas.template, tuple(kind.environment(group, replicas.role, index))

    def told(container: Container) -> Container:
        known = {each.name for each in container.env}
        added = tuple(each for each in environment if each.name not in known)  # the user's own word counts
        return msgspec.structs.replace(container, env=(*added, *container.env))

    containers = tuple(_with_port(kind, told(each)) for each in template.spec.containers)
    policy = NEVER if replicas.restart_policy == EXIT_CODE else replicas.restart_policy
    spec = msgspec.structs.replace(template.spec, containers=containers, restart_policy=policy)
    meta, scheduling = template.metadata, group.policy.scheduling_policy
    labels = {**meta.labels, **replica_labels(kind, group, replicas.role, index)}
    if scheduling is not None:
        labels[POD_GROUP_LABEL] = group.name
        priority = spec.priority_class_name or scheduling.priority_class
        spec = msgspec.structs.replace(spec, priority_class_name=priority)
    metadata = ObjectMeta(
        name=group.host(replicas.role, index),
        namespace=group.namespace,
        labels=labels,
        annotations={**meta.annotations, **world_mark(group.job, environment)},
        finalizers=meta.finalizers,
    )
    return kind.dressed(group, replicas.role, index, controlled_by(group.job, Pod(metadata=metadata, spec=spec)))


def pod_group(group: Group[Any]) -> PodGroup | None:
    """What makes the pods start together, if the job says how they are to be scheduled; there must be some."""
    policy = group.policy.scheduling_policy
    if policy is None or not group.total:
        return None
    spec = PodGroupSpec(
        min_member=policy.min_available or group.total,
        min_resources=policy.min_resources,
        schedule_timeout_seconds=policy.schedule_timeout_seconds,
    )
    metadata = ObjectMeta(name=group.name, namespace=group.namespace)
    return controlled_by(group.job, PodGroup(metadata=metadata, spec=spec))


def autoscaler(kind: JobKind[Any], group: Group[Any]) -> HorizontalPodAutoscaler | None:
    """What changes the number of workers by their use, if the job's elastic policy has metrics."""
    wanted = kind.autoscaling(group)
    if wanted is None:
        return None
    resource = kind.kind.resource
    target = ScaleTarget(kind=resource.kind, name=group.name, api_version=resource.api_version)
    spec = AutoscalerSpec(
        scale_target_ref=target, min_replicas=wanted.low, max_replicas=wanted.high, metrics=tuple(wanted.metrics)
    )
    metadata = ObjectMeta(name=group.name, namespace=group.namespace)
    return controlled_by(group.job, HorizontalPodAutoscaler(metadata=metadata, spec=spec))


def services(kind: JobKind[Any], group: Group[Any]) -> Iterator[Service]:
    """Every replica's service: headless, so that its name is its pod's address."""
    for replicas in group.replicas if kind.services_per_replica else ():
        for index in range(replicas.count):
            labels = replica_labels(kind, group, replicas.role, index)
            selector = {name: value for name, value in labels.items() if name != ROLE_LABEL}
            metadata = ObjectMeta(name=group.host(replicas.role, index), namespace=group.namespace, labels=labels)
            # Members look for each other before any of them is ready.
            spec = ServiceSpec(
                cluster_ip=HEADLESS,
                selector=selector,
                ports=tuple(_ports(kind, replicas)),
                publish_not_ready_addresses=True,
            )
            yield controlled_by(group.job, Service(metadata=metadata, spec=spec))


def _ports(kind: JobKind[Any], replicas: Replicas) -> Iterator[ServicePort]:
    main = kind.main(replicas.template)
    declared = main.ports if main else ()
    for number, port in enumerate(declared):
        yield ServicePort(name=port.name or f"port-{number}", port=port.container_port)
    if all(each.name != kind.port_name for each in declared):
        yield ServicePort(name=kind.port_name, port=kind.port)


def _with_port(kind: JobKind[Any], container: Container) -> Container:
    if container.name != kind.container or any(each.name == kind.port_name for each in container.ports):
        return container
    port = ContainerPort(name=kind.port_name, container_port=kind.port)
    return msgspec.structs.replace(container, ports=(*container.ports, port))
