"""The Jobs, the service and the claims that a JobSet should have. Pure; names follow from the JobSet's."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ketch.kube.codec import encode
from ketch.kube.meta import ObjectMeta
from ketch.kube.owners import controlled_by
from ketch.kube.types.batch import Job
from ketch.kube.types.core import PersistentVolumeClaim, Service
from ketch.kube.types.pods import PodSpec
from ketch.kube.types.services import HEADLESS, ServiceSpec
from ketch.kube.types.volumes import ClaimVolume, Volume
from ketch.training.jobsets.types import JobSet, ReplicatedJob, VolumeClaimPolicy

PREFIX: Final = "jobset.sigs.k8s.io/"
NAME_LABEL: Final = f"{PREFIX}jobset-name"
REPLICATED_JOB_LABEL: Final = f"{PREFIX}replicatedjob-name"
ATTEMPT_LABEL: Final = f"{PREFIX}restart-attempt"
COORDINATOR: Final = f"{PREFIX}coordinator"
TEMPLATE: Final = "jobset.ketch.dev/template"
"""A Job's annotation: the mark of the template that it was made from."""

INDEXED: Final = "Indexed"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a Job stands in its JobSet."""

    replicated: ReplicatedJob
    index: int
    global_index: int
    group_index: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where every Job stands; made once for a pass, so that its cost is linear in the Jobs."""

    places: Sequence[Place]
    group_sizes: Mapping[str, int]


def replicas_of(replicated: ReplicatedJob) -> int:
    """How many Jobs a replicated job has."""
    return 1 if replicated.replicas is None else replicated.replicas


def layout_of(jobset: JobSet) -> Layout:
    """Every Job of the JobSet, in the order in which they are counted."""
    found: list[Place] = []
    sizes: dict[str, int] = {}
    for replicated in jobset.spec.replicated_jobs:
        for index in range(replicas_of(replicated)):
            in_group = sizes.get(replicated.group_name, 0)
            found.append(Place(replicated, index, len(found), in_group))
            sizes[replicated.group_name] = in_group + 1
    return Layout(found, sizes)


def job_name(jobset: JobSet, replicated: ReplicatedJob, index: int) -> str:
    """The name of a Job."""
    return f"{jobset.metadata.name}-{replicated.name}-{index}"


def subdomain_of(jobset: JobSet) -> str:
    """The name of the headless service below which pods have their host names."""
    network = jobset.spec.network
    return (network.subdomain if network else "") or jobset.metadata.name


def has_host_names(jobset: JobSet) -> bool:
    """Whether pods have names at all."""
    network = jobset.spec.network
    return network is None or network.enable_dns_hostnames is not False


def coordinator_address(jobset: JobSet) -> str:
    """Where the pod is that all others are told of; empty when there is none."""
    coordinator = jobset.spec.coordinator
    if coordinator is None:
        return ""
    host = f"{jobset.metadata.name}-{coordinator.replicated_job}-{coordinator.job_index}-{coordinator.pod_index}"
    return f"{host}.{subdomain_of(jobset)}"


def job_of(jobset: JobSet, layout: Layout, place: Place) -> Job:
    """One Job of the current attempt."""
    replicated, template = place.replicated, place.replicated.template
    name = job_name(jobset, replicated, place.index)
    marks = _marks(jobset, layout, place, name)
    pod = template.spec.template
    spec = pod.spec
    if has_host_names(jobset):
        spec = msgspec.structs.replace(spec, subdomain=subdomain_of(jobset))
    if not spec.restart_policy:
        spec = msgspec.structs.replace(spec, restart_policy="OnFailure")
    if volumes := tuple(_claim_volumes(jobset, spec)):
        spec = msgspec.structs.replace(spec, volumes=(*spec.volumes, *volumes))
    marked = ObjectMeta(labels={**pod.metadata.labels, **marks}, annotations={**pod.metadata.annotations, **marks})
    pod = msgspec.structs.replace(pod, metadata=marked, spec=spec)
    job_spec = msgspec.structs.replace(
        template.spec,
        template=pod,
        completion_mode=template.spec.completion_mode or INDEXED,
        suspend=bool(jobset.spec.suspend) or template.spec.suspend,
    )
    metadata = ObjectMeta(
        name=name,
        namespace=jobset.metadata.namespace,
        labels={**template.metadata.labels, **marks},
        annotations={**template.metadata.annotations, **marks, TEMPLATE: template_mark(replicated)},
    )
    return controlled_by(jobset, Job(metadata=metadata, spec=job_spec))


def template_mark(replicated: ReplicatedJob) -> str:
    """Names what a replicated job's template says: Jobs made from another one carry another mark."""
    content = msgspec.json.encode(encode(replicated.template), order="sorted")
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def _marks(jobset: JobSet, layout: Layout, place: Place, name: str) -> Mapping[str, str]:
    """What Job and pods carry, as labels and as annotations."""
    replicated = place.replicated
    key = hashlib.sha1(f"{jobset.metadata.namespace}/{name}".encode(), usedforsecurity=False).hexdigest()
    marks = {
        NAME_LABEL: jobset.metadata.name,
        f"{PREFIX}jobset-uid": jobset.metadata.uid,
        REPLICATED_JOB_LABEL: replicated.name,
        f"{PREFIX}replicatedjob-replicas": str(replicas_of(replicated)),
        f"{PREFIX}global-replicas": str(len(layout.places)),
        ATTEMPT_LABEL: str(jobset.status.restarts),
        f"{PREFIX}job-index": str(place.index),
        f"{PREFIX}job-global-index": str(place.global_index),
        f"{PREFIX}job-key": key,
        f"{PREFIX}group-name": replicated.group_name,
        f"{PREFIX}group-replicas": str(layout.group_sizes[replicated.group_name]),
        f"{PREFIX}job-group-index": str(place.group_index),
    }
    address = coordinator_address(jobset)
    return {**marks, COORDINATOR: address} if address else marks


def service_of(jobset: JobSet) -> Service:
    """The headless service that gives pods their names."""
    network = jobset.spec.network
    unready = network is None or network.publish_not_ready_addresses is not False
    spec = ServiceSpec(
        cluster_ip=HEADLESS,
        selector={NAME_LABEL: jobset.metadata.name},
        publish_not_ready_addresses=unready,
    )
    metadata = ObjectMeta(name=subdomain_of(jobset), namespace=jobset.metadata.namespace)
    return controlled_by(jobset, Service(metadata=metadata, spec=spec))


def claims_of(jobset: JobSet) -> Iterator[PersistentVolumeClaim]:
    """The claims that all pods share; those that are to outlive the JobSet are nobody's."""
    for policy in jobset.spec.volume_claim_policies:
        for template in policy.templates:
            metadata = ObjectMeta(
                name=claim_name(jobset, template.metadata.name),
                namespace=jobset.metadata.namespace,
                labels={**template.metadata.labels, NAME_LABEL: jobset.metadata.name},
                annotations=template.metadata.annotations,
            )
            claim = PersistentVolumeClaim(metadata=metadata, spec=template.spec)
            yield claim if _outlives(policy) else controlled_by(jobset, claim)


def _claim_volumes(jobset: JobSet, spec: PodSpec) -> Iterator[Volume]:
    """A volume for each shared claim that a container mounts by name and no volume of the template has."""
    mounted = {mount.name for each in (*spec.init_containers, *spec.containers) for mount in each.volume_mounts}
    known = {volume.name for volume in spec.volumes}
    for policy in jobset.spec.volume_claim_policies:
        for template in policy.templates:
            name = template.metadata.name
            if name in mounted - known:
                source = ClaimVolume(claim_name=claim_name(jobset, name))
                yield Volume(name=name, persistent_volume_claim=source)


def claim_name(jobset: JobSet, name: str) -> str:
    """The claim made from the template ``name``."""
    return f"{name}-{jobset.metadata.name}"


def _outlives(policy: VolumeClaimPolicy) -> bool:
    return policy.retention_policy.when_deleted == "Retain"
