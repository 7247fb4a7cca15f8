"""From a TrainJob and its runtime to the JobSet that trains. Pure.

In this order: the runtime's template; the job's own trainer, initializers and number of nodes; what the ML policy
tells; the overrides of pod templates; the runtime patches, which have the last word.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from ketch.kube.codec import decode, encode
from ketch.kube.meta import KubeObject, ObjectMeta
from ketch.kube.owners import controlled_by
from ketch.kube.types.containers import (
    Container,
    ContainerPort,
    EnvFromSource,
    EnvVar,
    LocalReference,
    ResourceRequirements,
)
from ketch.kube.types.podgroups import POD_GROUP_LABEL, PodGroup, PodGroupSpec
from ketch.training.jobsets.desired import replicas_of
from ketch.training.jobsets.types import JobSet, JobSetSpec, ReplicatedJob
from ketch.training.trainjobs import torchtune
from ketch.training.trainjobs.merging import merged
from ketch.training.trainjobs.mpi import MPI
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


def mpi_of(job: TrainJob, runtime: TrainingRuntimeSpec) -> MPI | None:
    """The job under the MPI policy, if it is that runtime's."""
    policy = runtime.ml_policy.mpi if runtime.ml_policy else None
    if policy is None:
        return None
    step = trainer_step(runtime)
    container = trainer_container(job, runtime)
    resources = container.resources if container else ResourceRequirements()
    return MPI(job, policy, nodes_of(job, runtime), resources, step.name if step else "")


def trainer_step(runtime: TrainingRuntimeSpec) -> ReplicatedJob | None:
    """The replicated job that the runtime calls its trainer."""
    return next((each for each in runtime.template.spec.replicated_jobs if ancestor_of(each) == TRAINER), None)


def trainer_container(job: TrainJob, runtime: TrainingRuntimeSpec) -> Container | None:
    """The container that trains, with what the job says of it."""
    step = trainer_step(runtime)
    containers = step.template.spec.template.spec.containers if step else ()
    return next((_overridden(each, job) for each in containers if each.name == NODE), None)


def objects_of(job: TrainJob, runtime: TrainingRuntimeSpec) -> Sequence[KubeObject]:
    """What the policy needs beside the JobSet."""
    mpi = mpi_of(job, runtime)
    return mpi.objects() if mpi else ()


def _is_gang(replicated: ReplicatedJob, runtime: TrainingRuntimeSpec) -> bool:
    """Whether its pods are placed together. A launcher comes when its nodes are ready, so it cannot be one of them."""
    mpi = runtime.ml_policy is not None and runtime.ml_policy.mpi is not None
    servers = {each.name for each in runtime.template.spec.replicated_jobs} & {NODE} if mpi else ()
    return replicated.name == NODE if servers else ancestor_of(replicated) == TRAINER


def pod_group_of(job: TrainJob, runtime: TrainingRuntimeSpec) -> PodGroup | None:
    """What makes the nodes start together, if the runtime says so. Initializers come before and are not of it."""
    policy = runtime.pod_group_policy
    if policy is None or policy.coscheduling is None:
        return None
    steps = [each for each in runtime.template.spec.replicated_jobs if _is_gang(each, runtime)]
    mpi = mpi_of(job, runtime)
    each_has = nodes_of(job, runtime) if mpi is None else mpi.count(NODE)
    spec = PodGroupSpec(
        min_member=each_has * max(sum(map(replicas_of, steps)), 1),
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
        case "" if replicated.name == NODE and runtime.ml_policy is not None and runtime.ml_policy.mpi is not None:
            return _servers(replicated, job, runtime)
        case _:
            return replicated


def _trainer(replicated: ReplicatedJob, job: TrainJob, runtime: TrainingRuntimeSpec) -> ReplicatedJob:
    """So many pods as there are nodes, each told of the others."""
    tell, mpi = told_by(runtime.ml_policy), mpi_of(job, runtime)
    count = nodes_of(job, runtime) if mpi is None else mpi.count(replicated.name)

    def changed(container: Container) -> Container:
        if container.name != NODE:
            return container
        own = _overridden(container, job)
        if mpi is not None:
            return msgspec.structs.replace(own, env=_with(own.env, mpi.environment(replicated.name)))
        if tell is None:
            return own
        nodes = Nodes(job, count, own, replicated.name)
        ports = own.ports if any(each.container_port == PORT for each in own.ports) else (*own.ports, _PORT)
        told, command = tell(nodes), own.command
        if torchtune.is_torchtune(nodes):
            command = tuple(torchtune.command_of(nodes, container))
            told = [each for each in told if each.name not in torchtune.SAID_BY_COMMAND]
        return msgspec.structs.replace(own, env=_with(own.env, told), ports=ports, command=command)

    return _sized(replicated, count, changed, job, runtime)


def _servers(replicated: ReplicatedJob, job: TrainJob, runtime: TrainingRuntimeSpec) -> ReplicatedJob:
    """The nodes in which a launcher starts processes: the same image, variables and resources, their own command."""
    mpi = mpi_of(job, runtime)
    assert mpi is not None

    def changed(container: Container) -> Container:
        if container.name != NODE:
            return container
        own = _overridden(container, job)
        return msgspec.structs.replace(own, command=container.command, args=container.args)

    return _sized(replicated, mpi.count(replicated.name), changed, job, runtime)


def _sized(
    replicated: ReplicatedJob,
    count: int,
    change: Callable[[Container], Container],
    job: TrainJob,
    runtime: TrainingRuntimeSpec,
) -> ReplicatedJob:
    job_spec, mpi = replicated.template.spec, mpi_of(job, runtime)
    pod = job_spec.template
    labels = pod.metadata.labels
    if _is_gang(replicated, runtime) and (group := pod_group_of(job, runtime)) is not None:
        labels = {**labels, POD_GROUP_LABEL: group.metadata.name}
    pod_spec = msgspec.structs.replace(pod.spec, containers=tuple(map(change, pod.spec.containers)))
    if mpi is not None:
        pod_spec = mpi.dressed(replicated.name, pod_spec)
    pod = msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, labels=labels), spec=pod_spec)
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
    changes = [*_overrides(job), *_patches(job)]
    if not changes:
        return JobSet(metadata=metadata, spec=spec)
    template: Any = {"metadata": encode(metadata), "spec": encode(spec)}
    names = {each.name for each in spec.replicated_jobs}
    for whose, change in changes:
        for replicated in change.get("spec", {}).get("replicatedJobs", ()):
            if replicated.get("name") not in names:
                raise AssemblyProblem(f'{whose}: no replicated job "{replicated.get("name")}"')
        template = merged(template, change)
    return decode(JobSet, {**template, "metadata": {**template["metadata"], "name": metadata.name}})


def _overrides(job: TrainJob) -> Iterator[tuple[str, Any]]:
    """Overrides of pod templates, as patches."""
    for number, override in enumerate(job.spec.pod_template_overrides):
        pods = {name: part for name in ("metadata", "spec") if (part := getattr(override, name))}
        jobs = [{"name": each.name, "template": {"spec": {"template": pods}}} for each in override.target_jobs]
        yield f"podTemplateOverrides[{number}]", {"spec": {"replicatedJobs": jobs}}


def _patches(job: TrainJob) -> Iterator[tuple[str, Any]]:
    for patch in job.spec.runtime_patches:
        yield f"runtime patch of {patch.manager}", patch.training_runtime_spec.get("template", {})
