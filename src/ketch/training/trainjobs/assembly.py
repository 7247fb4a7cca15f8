"""From a TrainJob and its runtime to the JobSet that trains. Pure.

In this order: the runtime's template; the job's own trainer, initializers and number of nodes; what the ML policy
tells; the runtime patches, which have the last word.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ketch.kube.codec import decode, encode
from ketch.kube.meta import ObjectMeta
from ketch.kube.owners import controlled_by
from ketch.kube.types.containers import Container, ContainerPort, EnvFromSource, EnvVar, LocalReference
from ketch.kube.types.podgroups import POD_GROUP_LABEL, PodGroup, PodGroupSpec
from ketch.training.jobsets.desired import replicas_of
from ketch.training.jobsets.types import JobSet, JobSetSpec, ReplicatedJob
from ketch.training.trainjobs.merging import merged
from ketch.training.trainjobs.policies import NODE, PORT, Nodes, told_by
from ketch.training.trainjobs.types import Source, TrainingRuntimeSpec, TrainJob

ANCESTOR: Final = "trainer.kubeflow.org/trainjob-ancestor-step"
TRAINER, DATASET, MODEL = "trainer", "dataset-initializer", "model-initializer"
STORAGE_URI: Final = "STORAGE_URI"


class AssemblyProblem(Exception):
    """The job and its runtime do not fit; the message says why."""


def nodes_of(job: TrainJob, runtime: TrainingRuntimeSpec) -> int:
    """How many nodes train."""
    trainer, policy = job.spec.trainer, runtime.ml_policy
    if trainer is not None and trainer.num_nodes is not None:
        return trainer.num_nodes
    return policy.num_nodes if policy is not None and policy.num_nodes is not None else 1


def ancestor_of(replicated: ReplicatedJob) -> str:
    """Which step of a TrainJob a replicated job is; empty for those that are none."""
    return replicated.template.metadata.labels.get(ANCESTOR, "")


def jobset_of(job: TrainJob, runtime: TrainingRuntimeSpec) -> JobSet:
    """The JobSet. Raises AssemblyProblem."""
    template = runtime.template
    steps = tuple(_step(each, job, runtime) for each in template.spec.replicated_jobs)
    if not any(ancestor_of(each) == TRAINER for each in steps):
        raise AssemblyProblem(f"the runtime has no replicated job with the label {ANCESTOR}: {TRAINER}")
    spec = msgspec.structs.replace(template.spec, replicated_jobs=steps)
    metadata = ObjectMeta(
        name=job.metadata.name,
        namespace=job.metadata.namespace,
        labels={**template.metadata.labels, **job.metadata.labels},
        annotations={**template.metadata.annotations, **_own(job.metadata.annotations)},
    )
    patched = _patched(metadata, spec, job)
    suspended = msgspec.structs.replace(patched.spec, suspend=bool(job.spec.suspend))
    return controlled_by(job, msgspec.structs.replace(patched, spec=suspended))


def pod_group_of(job: TrainJob, runtime: TrainingRuntimeSpec) -> PodGroup | None:
    """What makes the nodes start together, if the runtime says so. Initializers come before and are not of it."""
    policy = runtime.pod_group_policy
    if policy is None or policy.coscheduling is None:
        return None
    steps = [each for each in runtime.template.spec.replicated_jobs if ancestor_of(each) == TRAINER]
    spec = PodGroupSpec(
        min_member=nodes_of(job, runtime) * max(sum(map(replicas_of, steps)), 1),
        schedule_timeout_seconds=policy.coscheduling.schedule_timeout_seconds,
    )
    metadata = ObjectMeta(name=job.metadata.name, namespace=job.metadata.namespace)
    return controlled_by(job, PodGroup(metadata=metadata, spec=spec))


def _own(annotations: Mapping[str, str]) -> Mapping[str, str]:
    """Without what a client keeps for itself."""
    return {name: value for name, value in annotations.items() if not name.startswith("kubectl.kubernetes.io/")}


def _step(replicated: ReplicatedJob, job: TrainJob, runtime: TrainingRuntimeSpec) -> ReplicatedJob:
    initializer = job.spec.initializer
    match ancestor_of(replicated):
        case "trainer":
            return _trainer(replicated, job, runtime)
        case "dataset-initializer":
            return _initializer(replicated, DATASET, initializer.dataset if initializer else None)
        case "model-initializer":
            return _initializer(replicated, MODEL, initializer.model if initializer else None)
        case _:
            return replicated


def _trainer(replicated: ReplicatedJob, job: TrainJob, runtime: TrainingRuntimeSpec) -> ReplicatedJob:
    """So many pods as there are nodes, each told of the others."""
    count = nodes_of(job, runtime)
    tell = told_by(runtime.ml_policy)

    def changed(container: Container) -> Container:
        if container.name != NODE:
            return container
        own = _overridden(container, job)
        if tell is None:
            return own
        told = tell(Nodes(job, count, own, replicated.name))
        ports = own.ports if any(each.container_port == PORT for each in own.ports) else (*own.ports, _PORT)
        return msgspec.structs.replace(own, env=_with(own.env, told), ports=ports)

    job_spec = replicated.template.spec
    pod = job_spec.template
    containers = tuple(map(changed, pod.spec.containers))
    labels = pod.metadata.labels
    if (group := pod_group_of(job, runtime)) is not None:
        labels = {**labels, POD_GROUP_LABEL: group.metadata.name}
    metadata = msgspec.structs.replace(pod.metadata, labels=labels)
    pod_spec = msgspec.structs.replace(pod.spec, containers=containers)
    pod = msgspec.structs.replace(pod, metadata=metadata, spec=pod_spec)
    job_spec = msgspec.structs.replace(job_spec, template=pod, parallelism=count, completions=count)
    return _with_spec(replicated, job_spec)


_PORT: Final = ContainerPort(container_port=PORT)


def _overridden(container: Container, job: TrainJob) -> Container:
    """The runtime's container with what the job says of it."""
    trainer = job.spec.trainer
    if trainer is None:
        return container
    return msgspec.structs.replace(
        container,
        image=trainer.image or container.image,
        command=trainer.command or container.command,
        args=trainer.args or (() if trainer.command else container.args),
        env=_with(container.env, trainer.env),
        resources=trainer.resources_per_node or container.resources,
    )


def _initializer(replicated: ReplicatedJob, name: str, source: Source | None) -> ReplicatedJob:
    """Told where its data comes from."""
    if source is None:
        return replicated
    own = [EnvVar(name=STORAGE_URI, value=source.storage_uri)] if source.storage_uri is not None else []
    secret = source.secret_ref.name if source.secret_ref else ""

    def changed(container: Container) -> Container:
        if container.name != name:
            return container
        more = (EnvFromSource(secret_ref=LocalReference(name=secret)),) if secret else ()
        env = _with(container.env, (*own, *source.env))
        return msgspec.structs.replace(container, env=env, env_from=(*container.env_from, *more))

    pod = replicated.template.spec.template
    spec = msgspec.structs.replace(pod.spec, containers=tuple(map(changed, pod.spec.containers)))
    job_spec = msgspec.structs.replace(replicated.template.spec, template=msgspec.structs.replace(pod, spec=spec))
    return _with_spec(replicated, job_spec)


def _with_spec(replicated: ReplicatedJob, job_spec: Any) -> ReplicatedJob:
    template = msgspec.structs.replace(replicated.template, spec=job_spec)
    return msgspec.structs.replace(replicated, template=template)


def _with(env: Sequence[EnvVar], more: Iterable[EnvVar]) -> tuple[EnvVar, ...]:
    """``env`` with ``more`` over it, by name."""
    added = {each.name: each for each in more}
    kept = [added.pop(each.name, each) for each in env]
    return (*kept, *added.values())


def _patched(metadata: ObjectMeta, spec: JobSetSpec, job: TrainJob) -> JobSet:
    if not job.spec.runtime_patches:
        return JobSet(metadata=metadata, spec=spec)
    template: Any = {"metadata": encode(metadata), "spec": encode(spec)}
    names = {each.name for each in spec.replicated_jobs}
    for patch in job.spec.runtime_patches:
        change: Any = patch.training_runtime_spec.get("template", {})
        for replicated in change.get("spec", {}).get("replicatedJobs", ()):
            if replicated.get("name") not in names:
                raise AssemblyProblem(f'runtime patch of {patch.manager}: no replicated job "{replicated.get("name")}"')
        template = merged(template, change)
    return decode(JobSet, {**template, "metadata": {**template["metadata"], "name": metadata.name}})
